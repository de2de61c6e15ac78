"""Ready-made observers. Each imports its library when it is made, and says what to install."""

from concurrent_exec.observers.histogram import LatencyHistogram
from concurrent_exec.observers.logs import LoggingObserver
from concurrent_exec.observers.otel import OpenTelemetryObserver
from concurrent_exec.observers.progress import RichProgress, TqdmProgress
from concurrent_exec.observers.prometheus import PrometheusObserver

__all__ = [
    "LatencyHistogram",
    "LoggingObserver",
    "OpenTelemetryObserver",
    "PrometheusObserver",
    "RichProgress",
    "TqdmProgress",
]
