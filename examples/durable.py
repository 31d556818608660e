"""A run that survives its process: kill it wherever you like and start it again. Needs OPENAI_API_KEY.

``--stop-after-first`` ends the process after the first task, as a deploy or a crash would.
"""

import os
import sys

from quarterdeck import Agent, Crew, Task

agent = Agent(role="Writer", goal="Write short texts", backstory="Plain words.")
facts = Task(name="facts", description="List facts about {topic}.", expected_output="A list", agent=agent)
text = Task(name="text", description="Write a text about {topic}.", expected_output="A text", agent=agent)


def stop(event):
    if "--stop-after-first" in sys.argv and event.type == "task.finished":
        print("stopped", flush=True)
        os._exit(0)


if __name__ == "__main__":
    crew = Crew(tasks=[facts, text])
    print(crew.kickoff({"topic": "harbours"}, journal="runs.db", run_id="harbours-1", on_event=stop))
