"""A job that proves the shape of all others: stages that wait for each other, tasks in parallel.

Stage 1: n greetings at once. Stage 2: one validation of them all. Stage 3: n replies at once,
each to one greeting. The result tells who spoke to whom, and how long each stage really took.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dagster import (
    Config,
    DynamicOut,
    DynamicOutput,
    Failure,
    MetadataValue,
    OpExecutionContext,
    Out,
    Output,
    job,
    op,
)
from pydantic import Field

from geo_etl.ingest.clock import Clock, Span
from geo_etl.jobs.executor import forkserver_executor
from geo_etl.spec import task_id

NAME = "hello_world_sequential"


class HelloConfig(Config):
    """How many greetings."""

    n: int = Field(3, ge=1, le=20, description="Greetings in stage 1, and replies in stage 3")


@dataclass(frozen=True)
class Said:
    """What one task said."""

    task: str
    message: str
    span: Span


@op(out=DynamicOut(str))
def invite(context: OpExecutionContext, config: HelloConfig) -> Iterator[DynamicOutput[str]]:
    for index in range(config.n):
        task = task_id(context.run_id, "hello", "greeting", index)
        yield DynamicOutput(task, mapping_key=task)


@op(out=Out(Said))
def greet(task: str) -> Said:
    clock = Clock()
    return Said(task, f"Hello from {task}", clock.span())


@op(out={"validation": Out(Said), "replies": DynamicOut(Said)})
def validate(
    context: OpExecutionContext, greetings: list[Said]
) -> Iterator[Output[Said] | DynamicOutput[Said]]:
    clock = Clock()
    wrong = [said.task for said in greetings if said.message != f"Hello from {said.task}"]
    if wrong or len({said.task for said in greetings}) != len(greetings):
        raise Failure(f"Greetings are wrong or doubled: {wrong}", allow_retries=False)
    task = task_id(context.run_id, "hello", "validation", 0)
    yield Output(Said(task, f"{len(greetings)} greetings are valid", clock.span()), "validation")
    for index, said in enumerate(greetings):
        key = task_id(context.run_id, "hello", "reply", index)
        yield DynamicOutput(said, mapping_key=key, output_name="replies")


@op(out=Out(dict))
def reply(context: OpExecutionContext, greeting: Said, validation: Said) -> dict[str, Any]:
    clock = Clock()
    task = context.get_mapping_key()
    assert task is not None
    message = f"Task {task} saying hello to {greeting.task}"
    return {"to": greeting, "said": Said(task, message, clock.span()), "after": validation.task}


@op(out=Out(dict))
def tell(validation: Said, replies: list[dict[str, Any]]) -> Output[dict[str, Any]]:
    greetings: list[Said] = [entry["to"] for entry in replies]
    answers: list[Said] = [entry["said"] for entry in replies]
    stages = [("greeting", greetings), ("validation", [validation]), ("reply", answers)]
    history = [
        {
            "stage": number,
            "name": name,
            "tasks": len(said),
            "started": min(entry.span.start for entry in said),
            "ended": max(entry.span.end for entry in said),
            "seconds": max(e.span.end for e in said) - min(e.span.start for e in said),
        }
        for number, (name, said) in enumerate(stages, start=1)
    ]
    result = {
        "sequential_hello_statistics": {
            "greetings": len(greetings),
            "validations": 1,
            "replies": len(answers),
            "total_tasks": 2 * len(greetings) + 1,
            "seconds": max(e.span.end for e in answers) - min(e.span.start for e in greetings),
        },
        "stage_conversations": [
            {
                "stage_1": e["to"].message,
                "stage_2": validation.message,
                "stage_3": e["said"].message,
            }
            for e in replies
        ],
        "stage_history": history,
    }
    return Output(result, metadata={"result": MetadataValue.json(result)})


@job(name=NAME, executor_def=forkserver_executor, description=__doc__)
def hello_world_sequential() -> None:
    greetings = invite().map(greet)
    validation, turns = validate(greetings.collect())
    replies = turns.map(lambda turn: reply(turn, validation))
    tell(validation, replies.collect())
