"""The bulk client of OpenAI-compatible servers: every answer is paid for once, and nothing is spent beyond a budget.

A `Call` names what is asked. The `Desk` answers it from the `Ledger`, or sends it through the `Lane` to the `Server`.
"""
