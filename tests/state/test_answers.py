"""Answers: a retried command is answered, not repeated."""

from bridge.state.answers import Answered, AnswerKey, Answers, Begun, Running


def _key(key: str = "k1", user: str = "ada") -> AnswerKey:
    return AnswerKey(namespace="/chat/apollo", user=user, command="send_message", key=key)


def _begin(answers: Answers[str, str], key: AnswerKey, message_id: str, now: float = 0.0) -> object:
    return answers.begin(key, message_id=message_id, pending=f"wait for {message_id}", now=now)


def test_a_retry_gets_the_first_answer() -> None:
    """Another user's equal key is another command."""
    answers: Answers[str, str] = Answers()
    assert _begin(answers, _key(), "m1") == Begun(message_id="m1")
    answers.finish(_key(), "done", 1.0)
    assert _begin(answers, _key(), "m2", 2.0) == Answered(answer="done")
    assert _begin(answers, _key(user="bob"), "m3", 2.0) == Begun(message_id="m3")


def test_a_retry_while_the_first_try_runs_learns_what_to_wait_on() -> None:
    """Two tries never run at once."""
    answers: Answers[str, str] = Answers()
    _begin(answers, _key(), "m1")
    assert _begin(answers, _key(), "m2") == Running(pending="wait for m1")


def test_after_an_unknown_outcome_the_retry_runs_under_the_same_message_id() -> None:
    """So the services can tell that it is the same message."""
    answers: Answers[str, str] = Answers()
    _begin(answers, _key(), "m1")
    answers.give_up(_key(), 1.0)
    assert _begin(answers, _key(), "m2", 2.0) == Begun(message_id="m1")
    answers.finish(_key(), "done", 3.0)
    assert _begin(answers, _key(), "m3", 4.0) == Answered(answer="done")


def test_an_answer_is_forgotten_after_its_lifetime() -> None:
    """It counts from the answer, and a message id that was given up ends likewise."""
    answers: Answers[str, str] = Answers(lifetime=300.0)
    _begin(answers, _key("a"), "m1")
    _begin(answers, _key("b"), "m2")
    answers.finish(_key("a"), "done", 10.0)
    answers.give_up(_key("b"), 10.0)
    assert _begin(answers, _key("a"), "m3", 309.9) == Answered(answer="done")
    assert _begin(answers, _key("a"), "m3", 310.0) == Begun(message_id="m3")
    assert _begin(answers, _key("b"), "m4", 310.0) == Begun(message_id="m4")


def test_the_oldest_answers_go_beyond_the_bound_and_running_commands_stay() -> None:
    """A flood of keys neither grows the table nor repeats a command in flight."""
    answers: Answers[str, str] = Answers(bound=3)
    _begin(answers, _key("running"), "m0")
    for number in range(10):
        _begin(answers, _key(f"k{number}"), f"m{number}")
        answers.finish(_key(f"k{number}"), "done", float(number))
    assert len(answers) == 4
    assert _begin(answers, _key("running"), "m9", 20.0) == Running(pending="wait for m0")
    assert _begin(answers, _key("k9"), "m9", 20.0) == Answered(answer="done")
    assert _begin(answers, _key("k0"), "m9", 20.0) == Begun(message_id="m9")
