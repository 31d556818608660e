from pathlib import Path

from crewai import Agent, Crew, Process, Task

from quarterdeck.testing import ScriptedLLM

log = []
researcher = Agent(
    role="{topic} Senior Data Researcher",
    goal="Uncover cutting-edge developments in {topic}",
    backstory="A seasoned researcher",
    llm=ScriptedLLM(["- AI LLMs grow"]),
    function_calling_llm=None,
    verbose=False,
    allow_delegation=False,
    max_iter=20,
    max_rpm=None,
    max_execution_time=None,
    max_retry_limit=2,
    allow_code_execution=False,
    code_execution_mode="safe",
    respect_context_window=True,
    use_system_prompt=True,
    multimodal=False,
    inject_date=False,
    date_format="%Y-%m-%d",
    reasoning=False,
    max_reasoning_attempts=None,
    tools=[],
    knowledge_sources=None,
    embedder=None,
    system_template=None,
    prompt_template=None,
    response_template=None,
    step_callback=lambda step: log.append(type(step).__name__),
)
analyst = Agent(role="{topic} Analyst", goal="Report", backstory="b", llm=ScriptedLLM(["# Report"]))
research = Task(
    description="Research {topic} in {current_year}",
    expected_output="A list of 10 bullet points",
    agent=researcher,
    callback=lambda output: log.append(output.summary),
)
report = Task(
    description="Expand each topic",
    expected_output="A full report",
    agent=analyst,
    context=[research],
    markdown=True,
    output_file="output/report.md",
)
crew = Crew(
    agents=[researcher, analyst],
    tasks=[research, report],
    process=Process.sequential,
    task_callback=lambda output: log.append(output.agent),
    before_kickoff_callbacks=[lambda inputs: {**inputs, "current_year": 2025}],
    after_kickoff_callbacks=[lambda result: log.append("after") or result],
)
result = crew.kickoff(inputs={"topic": "AI LLMs"})
print(result.raw, Path("output/report.md").read_text(), research.output.raw, crew.usage_metrics.successful_requests)
print(log)
