"""One module for each peer, all doing the same work: three agents one after another, each with one tool.

Each makes one tool call, is given its result and writes a final answer: 6 calls to the model in all. Each answer is
context for the next agent. A module has

* ``IMPORTS``: the import lines that a user needs for this work;
* ``DISTRIBUTIONS``: what pip is to install, the one whose version is shown first;
* ``setup(url)``: makes clients and, where the peer's objects can be used again, the agents;
* ``build_one()``: makes one agent and one task, or the nearest thing, with one tool;
* ``run_sync(topic)``, where the peer has a sync form: one run; returns the last text;
* ``async run_async(topic)``: the same in its async form, any number at once;
* ``close()``, where something has to be ended.
"""

TASKS = [
    ("Researcher", "Find facts about a topic", "Research {topic}. Use the lookup tool once.", "A list of facts"),
    (
        "Analyst",
        "Draw conclusions from facts",
        "Analyse the facts about {topic}. Use the lookup tool once.",
        "Three conclusions",
    ),
    ("Writer", "Write clear summaries", "Write a summary about {topic}. Use the lookup tool once.", "A short summary"),
]
BACKSTORY = "An experienced specialist."
MODEL = "gpt-4o-mini"
KEY = "sk-bench"


def lookup_text(query: str) -> str:
    return f"Record for {query}: value 42, source A, confidence high."
