"""The report: one HTML file that shows what runs prove and certifies them anew while a reader moves a slider."""

from certmix.report.page import render_page
from certmix.report.payload import Report, build_report

__all__ = ["Report", "build_report", "render_page"]
