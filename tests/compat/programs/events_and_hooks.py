from crewai import Agent, BaseLLM, Crew, Task
from crewai.events import BaseEventListener, CrewKickoffCompletedEvent, CrewKickoffStartedEvent, crewai_event_bus
from crewai.events.types.task_events import TaskCompletedEvent
from crewai.hooks import after_llm_call, before_llm_call

seen = []


class Model(BaseLLM):
    def call(self, messages, tools=None, callbacks=None, available_functions=None, **kwargs):
        return f"answer to: {messages[-1]['content'].splitlines()[-1]}"


class Listener(BaseEventListener):
    def setup_listeners(self, bus):
        @bus.on(CrewKickoffStartedEvent)
        def started(source, event):
            seen.append(f"{event.crew_name} started")

        @bus.on(TaskCompletedEvent)
        def task(source, event):
            seen.append(f"task: {event.output.raw}")

        @bus.on(CrewKickoffCompletedEvent)
        def ended(source, event):
            seen.append(f"{event.crew_name} completed")


listener = Listener()


@before_llm_call
def ask_nicely(context):
    context.messages.append({"role": "user", "content": "please"})


@after_llm_call
def shout(context):
    return context.response.upper()


agent = Agent(role="r", goal="g", backstory="b", llm=Model(model="mine"))
crew = Crew(name="hooked", agents=[agent], tasks=[Task(description="do", expected_output="x", agent=agent)])
print(crew.kickoff())
crewai_event_bus.flush()
print(seen)
