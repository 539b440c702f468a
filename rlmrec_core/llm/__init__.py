"""The bulk client of OpenAI-compatible servers: every answer is paid for once, and nothing is spent beyond a budget.

`client.open_client` builds an `LlmClient` from settings. A `Request` names a question; the client answers it from its
ledger, or sends it to the server when the rate limiter and the budget allow.
"""
