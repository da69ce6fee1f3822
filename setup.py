"""Packaging of wkd_det: Wasserstein knowledge distillation for MMDetection."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(
    r"^__version__ = '(.+)'$", (ROOT / 'wkd_det/version.py').read_text(), re.MULTILINE
).group(1)

setup(
    name='wkd_det',
    version=VERSION,
    description='Wasserstein knowledge distillation for MMDetection',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['wkd_det', 'wkd_det.*']),
    package_data={'wkd_det': ['py.typed'], 'wkd_det.costs': ['groupings/*.json']},
    zip_safe=False,
    python_requires='>=3.9',
    install_requires=[
        'torch>=2.1,<2.10',
        'torchvision>=0.16,<0.25',
        'mmengine>=0.10.4,<0.11',
        'mmcv>=2.1.0,<2.2',
        'mmdet>=3.3.0,<3.4',
        'numpy',
        'safetensors>=0.4',
    ],
    extras_require={
        'mini': ['scikit-learn', 'matplotlib', 'pillow', 'scipy'],
        'plots': ['scikit-learn', 'scipy', 'matplotlib', 'grad-cam'],
        'timm': ['timm'],
        'docs': ['sphinx>=8', 'myst-parser>=4', 'furo'],
        'tests': ['pytest', 'POT', 'scipy', 'hypothesis', 'psutil', 'scikit-learn', 'ruff'],
    },
    classifiers=[
        'License :: OSI Approved :: Apache Software License',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
)
