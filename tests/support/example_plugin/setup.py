from setuptools import setup

setup(
    name='basicsr-tinysr',
    version='0.1',
    packages=['tinysr', 'tinysr.options'],
    package_data={'tinysr.options': ['*.yml']},
    install_requires=['basicsr-liif'],
    entry_points={
        'basicsr.plugins': [
            'tinysr = tinysr.tinysr_arch'
        ],  # a module to import, which registers what it brings
        'basicsr.options': ['tinysr = tinysr.options'],  # the package that holds option files
    },
)
