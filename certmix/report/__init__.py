"""The report: one HTML file that shows what runs prove and certifies them anew while a reader moves a slider."""

from certmix.report.chains import read_chains
from certmix.report.page import render_page
from certmix.report.payload import Report, build_report
from certmix.report.pictures import Pictures, picture

__all__ = ["Pictures", "Report", "build_report", "picture", "read_chains", "render_page"]
