"""A run with limits: it ends at the first one that it reaches, and gives what it has. Needs OPENAI_API_KEY."""

from quarterdeck import Agent, Budget, Crew, Task

agent = Agent(role="Writer", goal="Write short texts", backstory="Plain words.")
tasks = [
    Task(name=f"part{n}", description=f"Write part {n} of a story.", expected_output="A paragraph", agent=agent)
    for n in (1, 2, 3)
]

if __name__ == "__main__":
    limits = Budget(max_llm_calls=2, max_tokens=20_000, max_seconds=120)
    output = Crew(tasks=tasks).kickoff(budget=limits)
    print(f"limited by {output.ended_by}" if output.partial else "complete")
    for task in output.tasks_output:
        print(f"{task.name}: {task.raw}")
