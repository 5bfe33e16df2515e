"""Run BasicSR's own pipelines, with plugins loaded, remedies in place, and the options checked first."""
import argparse
import os

from liif_arch.bridge import options
from liif_arch.bridge.plugins import load_plugins


def run_pipeline(is_train: bool) -> dict:
    """Run `train_pipeline` or `test_pipeline` on sys.argv, the current directory as root.

    Returns:
        The options of the run.
    """
    import basicsr.test
    import basicsr.train

    from liif_arch.bridge import preflight, remedies
    remedies.apply()
    load_plugins()
    seen: dict = {}

    def parse_and_check(root_path: str, is_train: bool = True) -> tuple[dict, argparse.Namespace]:
        opt, args = options.parse_options(root_path, is_train)
        preflight.check(opt)
        seen['opt'] = opt
        return opt, args

    if is_train:
        from liif_arch.bridge.run import Run
        basicsr.train.parse_options = parse_and_check
        with Run().installed():
            basicsr.train.train_pipeline(os.getcwd())
    else:
        from liif_arch.bridge.samples import SampleSet
        basicsr.test.parse_options = parse_and_check
        basicsr.test.build_dataset = lambda opt: SampleSet(basicsr.data.build_dataset(opt), opt)
        basicsr.test.test_pipeline(os.getcwd())
    return seen['opt']
