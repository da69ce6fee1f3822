"""Packaging of wkd_det: Wasserstein knowledge distillation for MMDetection."""

import base64
import hashlib
import re
import shutil
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

ROOT = Path(__file__).parent
VERSION = re.search(
    r"^__version__ = '(.+)'$", (ROOT / 'wkd_det/version.py').read_text(), re.MULTILINE
).group(1)
# Read by Python when it starts: lets mmcv-lite find its stand-in, whatever is imported first.
START = ROOT / 'wkd_det_standin.pth'


class BuildWithStart(build_py):
    """Lays the file that Python reads when it starts next to the packages."""

    def run(self) -> None:
        """Build."""
        super().run()
        if not getattr(self, 'editable_mode', False):
            shutil.copy(START, Path(self.build_lib, START.name))


class EditableWithStart(editable_wheel):
    """Adds the same file to the wheel of an editable installation, which holds links only."""

    def run(self) -> None:
        """Build."""
        super().run()
        for path in Path(self.dist_dir).glob('wkd_det-*editable*.whl'):
            add_to_wheel(path, START)


def add_to_wheel(wheel: Path, added: Path) -> None:
    """Put a file into the root of a wheel and its hash into the wheel's record."""
    content = added.read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=').decode()
    old = wheel.rename(wheel.with_suffix('.old'))
    with ZipFile(old) as source, ZipFile(wheel, 'w', ZIP_DEFLATED) as target:
        for item in source.infolist():
            data = source.read(item)
            if item.filename.endswith('.dist-info/RECORD'):
                data += f'{added.name},sha256={digest},{len(content)}\n'.encode()
            target.writestr(item, data)
        target.writestr(added.name, content)
    old.unlink()


setup(
    name='wkd_det',
    version=VERSION,
    description='Wasserstein knowledge distillation for MMDetection',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['wkd_det', 'wkd_det.*', 'wkd_det_standin']),
    package_data={
        'wkd_det': [
            'py.typed',
            '.mim/model-index.yml',
            '.mim/configs/**/*.py',
            '.mim/configs/**/*.md',
            '.mim/tools/**/*.py',
            '.mim/tools/dist_*.sh',
            '.mim/tools/slurm_*.sh',
        ],
        'wkd_det.costs': ['groupings/*.json'],
    },
    cmdclass={'build_py': BuildWithStart, 'editable_wheel': EditableWithStart},
    entry_points={'console_scripts': ['wkd_det = wkd_det.__main__:main']},
    zip_safe=False,
    python_requires='>=3.10',
    # The modules mmcv, mmengine and mmdet come from one of two families of distributions, and
    # pip must not install one over the other. wkd_det checks what it finds when it is imported.
    install_requires=['torch>=2.1', 'torchvision>=0.16', 'numpy', 'safetensors>=0.4'],
    extras_require={
        'openmmlab': ['mmcv-lite>=2.1.0,<2.2', 'mmengine>=0.10.4', 'mmdet>=3.3.0'],
        'onedl': ['onedl-mmcv>=2.3', 'onedl-mmengine>=0.10.10', 'onedl-mmdetection>=3.5'],
        'mini': ['scikit-learn', 'matplotlib', 'pillow', 'scipy'],
        'plots': ['scikit-learn', 'scipy', 'matplotlib', 'grad-cam>=1.5'],
        'studies': ['scipy', 'matplotlib', 'statsmodels'],
        'timm': ['timm'],
        'docs': ['sphinx>=8', 'myst-parser>=4', 'furo'],
        'tests': [
            'pytest',
            'pytest-xdist',
            'POT',
            'scipy',
            'hypothesis',
            'psutil',
            'scikit-learn',
            'statsmodels',
            'ruff',
        ],
    },
    classifiers=[
        'License :: OSI Approved :: Apache Software License',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
)
