"""Test a detector: MMDetection's ``tools/test.py`` with its flags, wkd_det imported."""

from mmdet_tool import run

if __name__ == '__main__':
    run('test')
