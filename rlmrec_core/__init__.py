"""The library behind the pipeline: tables, arrays and tensors in, the same out. Knows neither Prefect nor the store."""
