"""Command line of the benchmarks: `scripts/bench NAME`."""

import click

from native_bench.commands import add_to
from native_bench.compare_command import compare_command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure parts of the scheduler beside their rivals, in one run, as ratios."""


add_to(main)
main.add_command(compare_command)

if __name__ == "__main__":
    main()
