"""Upload what no phone would take: any bytes, broken samples, forms that are none. Refused, in time, by a healthy child.

More examples with FUZZ_EXAMPLES=1000.
"""

import os
import random
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
