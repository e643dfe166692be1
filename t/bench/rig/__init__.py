# SPDX-License-Identifier: Apache-2.0
"""The benchmark rig: see ../README.md for what it measures, ../run for how it is started."""


class RigError(Exception):
    """Something without which there is no figure; its text is for the person at the terminal."""
