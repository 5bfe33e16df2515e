from setuptools import find_packages, setup

EXPORT = ['onnx', 'onnxscript', 'onnxruntime']

setup(
    name='basicsr-liif',
    version='0.1.0',
    description='Arbitrary-scale super-resolution (LIIF) as a plugin of BasicSR',
    long_description=open('README.md', encoding='utf-8').read(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    install_requires=[
        'basicsr==1.4.2; python_version < "3.13"',
        'my-basicsr==1.4.2; python_version >= "3.13"',  # see liif_arch/basicsr_source.py
        'torch>=2.6',
        'torchvision',
        'mmengine>=0.10.4',
        'opencv-python',
        'lmdb',
        'pyyaml',
        'jsonschema',  # checks option files
        'tifffile',  # headers of streamed .tif files, BigTIFF too; basicsr's scikit-image requires it as well
        'matplotlib',  # result plots and comparison pictures; mmengine requires it too
        'setuptools',  # basicsr imports distutils, which Python 3.12 has through setuptools alone
    ],
    extras_require={
        'test': ['pytest>=7', 'pytest-xdist', 'ruff', *EXPORT],
        'export': EXPORT,  # basicsr export
        'metrics': ['pyiqa'],  # LPIPS, DISTS and NIQE
    },
    # `options/` stays at the top level of the repository and travels in the wheel as
    # `liif_arch.options`.
    packages=['liif_arch.options', *find_packages(include=['liif_arch*', 'liif_data*'])],
    package_dir={'liif_arch.options': 'options'},
    package_data={
        'liif_arch.options': ['*.yml'],
        'liif_arch': ['*.sha256'],
        'liif_arch.weights': ['*.pth', 'README.md', '*.png'],
    },
    entry_points={
        'console_scripts': ['basicsr=liif_arch.cli:main'],
        'basicsr.plugins': ['liif_arch=liif_arch.register', 'liif_data=liif_data.register'],
    },
)
