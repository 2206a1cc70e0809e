"""Adapters: the events of an agent framework as deltas, for an app in a worker and for `midstream.produce`.

Each module has one function, `deltas`, an async generator. None of them imports its framework: events are told apart
by the names and fields that the framework documents. What fails raises as it did, after the usage so far.
"""
