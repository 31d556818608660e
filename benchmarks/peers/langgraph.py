"""LangGraph: a StateGraph of three prebuilt ReAct agents."""

from __future__ import annotations

import warnings
from typing import Any, TypedDict

from . import BACKSTORY, KEY, MODEL, TASKS, lookup_text

IMPORTS = (
    "from langgraph.graph import StateGraph, START, END\nfrom langgraph.prebuilt import create_react_agent\n"
    "from langchain_openai import ChatOpenAI\nfrom langchain_core.tools import tool"
)
DISTRIBUTIONS = ["langgraph", "langchain-openai"]


class State(TypedDict):
    topic: str
    context: str


def setup(url: str) -> None:
    global create_react_agent, llm, lookup, graph
    warnings.simplefilter("ignore")
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI
    from langgraph.prebuilt import create_react_agent

    llm = ChatOpenAI(model=MODEL, base_url=url, api_key=KEY)

    @tool
    def lookup(query: str) -> str:
        """Look up a record."""
        return lookup_text(query)

    graph = build_graph()


def agent(role: str, goal: str) -> Any:
    return create_react_agent(llm, [lookup], name=role, prompt=f"You are {role}. Your goal: {goal}. {BACKSTORY}")


def build_one() -> Any:
    return agent(*TASKS[0][:2])


def build_graph() -> Any:
    from langchain_core.runnables import RunnableLambda
    from langgraph.graph import END, START, StateGraph

    graph, last = StateGraph(State), START
    for role, goal, description, expected in TASKS:
        graph.add_node(role, RunnableLambda(*node(agent(role, goal), description, expected)))
        graph.add_edge(last, role)
        last = role
    graph.add_edge(last, END)
    return graph.compile()


def node(agent: Any, description: str, expected: str) -> tuple[Any, Any]:
    def question(state: State) -> dict[str, Any]:
        text = f"{description.format(topic=state['topic'])}\nExpected output: {expected}"
        return {"messages": [("user", f"{text}\nContext:\n{state['context']}" if state["context"] else text)]}

    def work(state: State) -> dict[str, str]:
        return {"context": agent.invoke(question(state))["messages"][-1].content}

    async def awork(state: State) -> dict[str, str]:
        return {"context": (await agent.ainvoke(question(state)))["messages"][-1].content}

    return work, awork


def run_sync(topic: str) -> str:
    return graph.invoke({"topic": topic, "context": ""})["context"]


async def run_async(topic: str) -> str:
    return (await graph.ainvoke({"topic": topic, "context": ""}))["context"]
