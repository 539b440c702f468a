"""Prompt templates, one folder per domain; read by `rlmrec_core.profiling.templates`, edited without touching code."""
