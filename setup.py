import re
from pathlib import Path

from setuptools import find_packages, setup

EXPORT = ['onnx', 'onnxscript', 'onnxruntime']
FILES = ['pillow-heif', 'OpenEXR>=3.3']
VIDEO = ['av>=17']
VIEW = ['starlette', 'uvicorn']
OPTIM = ['pytorch-optimizer>=4']
TOOLS = ['spandrel>=0.4']
DEMO = ['gradio>=6']
HUB = ['safetensors', 'huggingface_hub>=1']
TYPES = ['mypy', 'types-PyYAML', 'types-jsonschema']


def read_version() -> str:
    """`liif_arch.__version__`, read from its source: at a build it cannot be imported."""
    source = Path('liif_arch/__init__.py').read_text(encoding='utf-8')
    return re.search(r"^__version__ = '(.+)'$", source, re.MULTILINE).group(1)


def read_description() -> str:
    """README.md without what leads nowhere outside the repository: pictures and their captions, and
    links to its files, whose names stay.
    """
    text = Path('README.md').read_text(encoding='utf-8')
    text = re.sub(r'^!\[[^]]*\]\((?!https?:).*\)\n\n(\*[^*]+\*\n\n)?', '', text, flags=re.MULTILINE)

    def named(link: re.Match) -> str:
        if link[1] == link[2]:
            return f'`{link[2]}`'
        return f'{link[1]} (`{link[2]}`)'

    return re.sub(r'\[([^]]*)\]\((?!https?:)([^)#]*)[^)]*\)', named, text)


setup(
    name='basicsr-liif',
    version=read_version(),
    author='The basicsr-liif authors',
    description='Arbitrary-scale super-resolution (LIIF) as a plugin of BasicSR',
    long_description=read_description(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    keywords='super-resolution LIIF BasicSR image upscaling PyTorch',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3 :: Only',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Programming Language :: Python :: 3.14',
        'Topic :: Multimedia :: Graphics :: Graphics Conversion',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Processing',
    ],
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
        # Headers of streamed .tif files, BigTIFF too; basicsr's scikit-image requires it as well.
        'tifffile',
        'matplotlib',  # result plots and comparison pictures; mmengine requires it too
        'setuptools',  # basicsr imports distutils, which Python 3.12 has through setuptools alone
    ],
    extras_require={
        'test': [
            'pytest>=7',
            'pytest-xdist',
            'playwright',  # with a chromium of the system
            'ruff',
            *TYPES,
            *EXPORT,
            *FILES,
            *VIDEO,
            *VIEW,
            *HUB,
            *TOOLS,
            *OPTIM,
            *DEMO,
            'nbclient',  # runs docs/colab.ipynb
            'ipykernel',
            'build',
            'readme_renderer[md]',
        ],
        'files': FILES,  # HEIC and OpenEXR
        'video': VIDEO,  # films
        'view': VIEW,  # basicsr view
        'hub': HUB,  # .safetensors files, the Hugging Face hub
        'optim': OPTIM,  # more optimisers
        'tools': TOOLS,  # ComfyUI, chaiNNer
        'demo': DEMO,  # basicsr demo
        'export': EXPORT,  # basicsr export
        'metrics': ['pyiqa'],  # LPIPS, DISTS and NIQE
    },
    # `options/` stays at the top level of the repository and travels in the wheel as
    # `liif_arch.options`.
    packages=['liif_arch.options', *find_packages(include=['liif_arch*', 'liif_data*'])],
    package_dir={'liif_arch.options': 'options'},
    package_data={
        'liif_arch.options': ['*.yml'],
        'liif_arch': ['*.sha256', 'py.typed'],
        'liif_arch.view': ['static/*'],
        'liif_data': ['py.typed'],
        'liif_arch.weights': ['*.pth', 'README.md', '*.png'],
    },
    entry_points={
        'console_scripts': ['basicsr=liif_arch.cli.__main__:run'],
        'basicsr.plugins': ['liif_arch=liif_arch.register', 'liif_data=liif_data.register'],
    },
)
