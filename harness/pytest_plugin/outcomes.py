"""Device errors in pytest's reports: the machine's fault, told apart from failed tests.

A report carries the error as an attribute, and retries as user properties, so that both reach the
process that prints under xdist as well.
"""

import pytest

from harness.errors import HarnessError

EXIT_DEVICE_ERROR = 6
"""Exit status of a session in which no test failed, but a machine did."""

RETRIED = "device_retried"
"""User property of a test: a machine failed and the work was done again."""

_CATEGORY = "device error"


class DeviceErrors:
    """Counts failures and device errors of a session, prints the latter, and sets the exit code."""

    def __init__(self) -> None:
        self._errors: list[tuple[str, str]] = []
        self._retried: list[tuple[str, str]] = []
        self._failures = 0

    def mark(self, report: pytest.TestReport, error: HarnessError) -> None:
        """Make a report one of a device error."""
        text = f"{type(error).__name__}: {error}"
        report.device_error = text  # type: ignore[attr-defined]  # reports take more attributes
        report.longrepr = text

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.TestReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """A category of their own beside passed, failed and error."""
        if _error_of(report) is None:
            return None
        return _CATEGORY, "D", ("DEVICE ERROR", {"red": True})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take account of a report; under xdist this is called where the results are gathered."""
        error = _error_of(report)
        if error is not None:
            self._errors.append((report.nodeid, error))
        elif report.failed:
            self._failures += 1
        if report.when == "teardown":
            told = [str(text) for name, text in report.user_properties if name == RETRIED]
            self._retried += [(report.nodeid, text) for text in told]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Tell CI that the machine failed and no test did."""
        failed = session.exitstatus == pytest.ExitCode.TESTS_FAILED
        if failed and self._errors and not self._failures:
            session.exitstatus = EXIT_DEVICE_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which machines failed, and which tests went on in spite of one."""
        for title, told in (
            ("device errors: the machine failed, not the test", self._errors),
            ("tried again after a device error", self._retried),
        ):
            if told:
                terminalreporter.section(title)
                for nodeid, text in told:
                    terminalreporter.line(f"{nodeid}\n  {text.replace(chr(10), chr(10) + '  ')}")


def _error_of(report: pytest.TestReport) -> str | None:
    return getattr(report, "device_error", None)
