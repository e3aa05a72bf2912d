"""The life of a line: agreement, revisions, translations."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chatroom.protocol import Caption
from translate.captions import Agreement, Line, targets


def line(language: str = "en") -> Line:
    return Line("u-1", "p1", "Ada", language, 4_000)


def test_what_two_hearings_agree_on_is_confirmed() -> None:
    agreement = Agreement("en")
    assert agreement.hear("And Mr.") == "And Mr"
    assert agreement.confirmed == ""
    assert agreement.hear("And Mr. John Dashwood") == "And Mr. John Dashwood"
    assert agreement.confirmed == "And Mr."
    assert agreement.hear("And Mr. John Dashwood had then leashed.") == (
        "And Mr. John Dashwood had then leashed"
    )
    assert agreement.confirmed == "And Mr. John Dashwood"
    assert agreement.hear("And Mr. John Dashwood had then leisure to come.") == (
        "And Mr. John Dashwood had then leisure to come"
    )
    assert agreement.confirmed == "And Mr. John Dashwood had then"


def test_a_later_hearing_does_not_change_what_is_confirmed() -> None:
    agreement = Agreement("en")
    agreement.hear("I live in Chengdu now")
    agreement.hear("I live in Chengdu now and")
    assert agreement.confirmed == "I live in Chengdu now"
    assert agreement.hear("I lived in Chengdu now and then") == "I live in Chengdu now and then"
    assert agreement.hear("we live in Chengdu now and then go") == (
        "I live in Chengdu now and then go"
    )
    assert agreement.confirmed == "I live in Chengdu now and then"


def test_chinese_is_confirmed_by_characters() -> None:
    agreement = Agreement("zh")
    agreement.hear("我们这边已经是晚了。")
    assert agreement.hear("我们这边已经是晚上十一点。") == "我们这边已经是晚上十一点"
    assert agreement.confirmed == "我们这边已经是晚"


@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=8).map(" ".join), max_size=10))
def test_the_confirmed_only_grows_and_is_always_shown(hearings: list[str]) -> None:
    agreement = Agreement("en")
    confirmed = ""
    for text in hearings:
        shown = agreement.hear(text)
        assert agreement.confirmed.startswith(confirmed)
        confirmed = agreement.confirmed
        assert shown.startswith(confirmed)


def test_partials_then_final_then_translations() -> None:
    subject = line()
    first = subject.hear("Hello every", 4_500)
    assert first is not None
    assert (first.revision, first.final, first.text) == (1, False, "Hello every")
    assert subject.hear("Hello every.", 4_600) is None, "nothing new to show"
    assert subject.hear("", 4_700) is None
    second = subject.hear("Hello everyone, my", 5_000)
    assert second is not None
    assert (second.text, second.start_ms, second.end_ms) == ("Hello everyone, my", 4_000, 5_000)
    tentative = subject.translated("pt", "Olá a todos", second.text)
    assert tentative is not None
    assert tentative.translations == {"pt": "Olá a todos"}
    final = subject.settle("Hello everyone, my name is Ryan.", 6_000)
    assert final is not None
    assert final.final
    assert final.translations == {}, "made from other words"
    assert subject.translated("pt", "Olá a todos, meu", "Hello everyone, my") is None, "too late"
    done = subject.translated("pt", "Olá a todos.", final.text)
    assert done is not None
    assert (done.text, done.translations) == (final.text, {"pt": "Olá a todos."})
    refused = subject.not_translated("fr", "language_unavailable")
    assert refused is not None
    assert refused.untranslated == {"fr": "language_unavailable"}
    assert refused.translations == {"pt": "Olá a todos."}
    assert subject.not_translated("fr", "language_unavailable") is None
    assert subject.hear("Hello again", 7_000) is None
    assert subject.settle("Something else", 7_000) is None
    assert refused.revision == 6


def test_nothing_said_after_all() -> None:
    assert line().settle("", 5_000) is None, "nobody saw anything"
    subject = line()
    subject.hear("you", 4_200)
    taken_back = subject.settle("", 5_000)
    assert taken_back is not None
    assert (taken_back.final, taken_back.text) == (True, "")
    assert subject.translated("pt", "você", "you") is None


def test_giving_up_makes_final_what_is_shown() -> None:
    subject = line()
    subject.hear("so far so good", 4_900)
    given_up = subject.give_up(5_000)
    assert given_up is not None
    assert (given_up.final, given_up.text) == (True, "so far so good")
    assert line().give_up(5_000) is None


def test_targets_are_what_is_read_and_not_spoken() -> None:
    assert targets("en", ["pt", "en", "zh", "pt"]) == ["pt", "zh"]
    assert targets("en-US", ["en", "en-GB"]) == []
    assert targets("zh", ["zh-Hant", "zh-Hans", "zh"]) == ["zh-Hant"]
    assert targets("zh-TW", ["zh-Hant", "zh"]) == ["zh"]


class LineMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order, readers can go by revisions."""

    def __init__(self) -> None:
        super().__init__()
        self.line = line()
        self.seen: list[Caption] = []

    def see(self, caption: Caption | None) -> None:
        if caption is not None:
            self.seen.append(caption)

    @rule(text=st.lists(st.sampled_from("abc"), max_size=5).map(" ".join), end=st.integers(0, 9999))
    def hear(self, text: str, end: int) -> None:
        self.see(self.line.hear(text, end))

    @rule(text=st.sampled_from(["", "a b", "c"]), end=st.integers(0, 9999))
    def settle(self, text: str, end: int) -> None:
        self.see(self.line.settle(text, end))

    @rule(tongue=st.sampled_from(["pt", "zh"]), text=st.sampled_from("xy"))
    def translate(self, tongue: str, text: str) -> None:
        self.see(self.line.translated(tongue, text, self.line.text))

    @rule(tongue=st.sampled_from(["pt", "fr"]))
    def refuse(self, tongue: str) -> None:
        self.see(self.line.not_translated(tongue, "language_unavailable"))

    @invariant()
    def revisions_rise_by_one_and_finals_stay(self) -> None:
        assert [c.revision for c in self.seen] == list(range(1, len(self.seen) + 1))
        finals = [c for c in self.seen if c.final]
        assert self.seen[len(self.seen) - len(finals) :] == finals
        assert len({c.text for c in finals}) <= 1
        for caption in self.seen:
            assert caption.start_ms <= caption.end_ms
            assert not (caption.translations.keys() & caption.untranslated.keys())


LineMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=20)
TestLine = LineMachine.TestCase
