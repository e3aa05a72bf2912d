"""The table of phrases: consistent, whole in every language, and never turning a meaning round."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translate import figures, phrases
from translate.phrases import Concept, Phrases

TABLE = phrases.table()
TAGS = figures.LANGUAGES
PAIRS = [(a, b) for a in TAGS for b in TAGS if a != b]
FORMS = [
    (tag, form, concept)
    for concept in TABLE.concepts
    for tag, forms in concept.forms.items()
    for form in forms
]


def key(text: str, tag: str) -> str:
    return phrases._form_key(text, tag)


# --------------------------------------------------------------------------------- the table


def test_no_form_is_in_two_concepts() -> None:
    """Phrases refuses such a table; this says which form it is."""
    owners: dict[tuple[str, str], str] = {}
    for tag, form, concept in FORMS:
        assert owners.setdefault((tag, key(form, tag)), concept.name) == concept.name, form
    said = {"en": "hi"}
    with pytest.raises(ValueError, match="en 'hi' is in a and in b"):
        Phrases([Concept("a", {"en": ("hi",)}, said), Concept("b", {"en": ("Hi!",)}, said)])


def test_every_language_says_every_concept() -> None:
    for concept in TABLE.concepts:
        if concept.forms.keys() != set(TAGS):
            # Kept between two languages on purpose; the file says why.
            assert concept.name in {"buenas_noches", "buenas_noches_everyone"}
            assert concept.forms.keys() == {"es", "pt"}
        for tag in concept.forms:
            assert concept.said[tag].strip(), (concept.name, tag)


def test_what_is_said_is_recognised_again() -> None:
    """A rendering is one of its language's forms, of the same concept unless `render` took
    another's words."""
    for concept in TABLE.concepts:
        for tag, forms in concept.forms.items():
            said = concept.said[tag]
            other = next(t for t in concept.said if t != tag)
            assert TABLE.translate(said, tag, other) is not None or said not in forms, said
            if said in forms:
                assert TABLE._keys[tag][key(said, tag)] is concept


def test_renderings_fit_into_a_sentence() -> None:
    """No closing mark but a question's, and that one whole."""
    for concept in TABLE.concepts:
        asks = {tag: said.endswith(("?", "？")) for tag, said in concept.said.items()}
        assert len(set(asks.values())) == 1, concept.name
        for tag, said in concept.said.items():
            assert not said.endswith((".", "!", "。", "！", ",")), said
            assert ("¿" in said) == (tag == "es" and asks[tag]), said
            chinese = re.search("[\u4e00-\u9fff]", said) is not None
            assert chinese == (tag == "zh") or said == "OK", said


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_every_form_is_translated(source: str, target: str) -> None:
    for tag, form, concept in FORMS:
        if tag == source and target in concept.said:
            found = TABLE.translate(form, source, target)
            assert found, form
            assert key(found, target) == key(concept.said[target], target)


def test_a_refusal_may_not_join_and_answers_are_yes_or_no() -> None:
    with pytest.raises(ValueError, match="must not join"):
        Phrases([Concept("no", {"en": ("no",)}, {"en": "no"}, answer="no", joins=True)])
    with pytest.raises(ValueError, match="'perhaps'"):
        phrases._concept("x", {tag: ["x"] for tag in TAGS} | {"answer": "perhaps"})


# ------------------------------------------------------------------------------ yes and no

NEGATIONS = {
    "en": re.compile(
        r"\b(no|not|nope|nah|don't|can't|cannot|isn't|won't|didn't|neither|nor|never|wrong|"
        r"disagree|means|circumstances|barely|couldn't|dunno|nothing)\b"
    ),
    "es": re.compile(r"\b(no|nop|ningún|ninguna|tampoco|ni)\b"),
    "pt": re.compile(r"\b(não|nã|nem|nenhum|nenhuma|jeito|alguma|discordo|errado|sei lá)\b"),
    "zh": re.compile(r"[不没否反别]"),
}


@pytest.mark.parametrize("tag", TAGS)
def test_what_assents_denies_nothing_and_what_refuses_does(tag: str) -> None:
    """A reader of the table could have put a form into the wrong concept."""
    harmless = {
        "没错",
        "没问题",
        "没有问题",
        "对，没错",
        "是的，没错",
        "我没问题",
        "我这边没问题",
        "这主意不错",
    }
    harmless |= {"cómo no", "sem dúvida"}
    for language, form, concept in FORMS:
        if language != tag or not concept.answer or form in harmless:
            continue
        denies = NEGATIONS[tag].search(form.casefold()) is not None
        assert denies == (concept.answer == "no"), (concept.name, form)


YES = [(tag, form) for tag, form, concept in FORMS if concept.answer == "yes"]
NO = [(tag, form) for tag, form, concept in FORMS if concept.answer == "no"]


@given(st.sampled_from(YES + NO), st.sampled_from(TAGS))
def test_no_answer_is_inverted(answer: tuple[str, str], target: str) -> None:
    tag, form = answer
    found = TABLE.translate(form, tag, target)
    assert found is not None
    assert not TABLE.inverts(form, found, tag, target)
    assert TABLE._leading(found, target)[0] == ("yes" if answer in YES else "no")


@given(st.lists(st.sampled_from(YES + NO), min_size=2, max_size=4), st.sampled_from(TAGS))
def test_answers_in_a_row_keep_their_order(answers: list[tuple[str, str]], target: str) -> None:
    """Said in the first one's language; what comes back has as many yeses and noes."""
    tag = answers[0][0]
    forms = [form for language, form in answers if language == tag]
    found = TABLE.translate(". ".join(forms) + ".", tag, target)
    if found is None or tag == target:
        return
    wanted = [TABLE._leading(form, tag)[0] for form in forms]
    parts = [part for part in re.split(r"[.。]\s*", found) if part]
    assert [TABLE._leading(part, target)[0] for part in parts] == wanted


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("no está bien", "es"),
        ("no es verdad que sí", "es"),
        ("não está bom", "pt"),
        ("no good", "en"),
        ("no right", "en"),
        ("not OK", "en"),
        ("不好", "zh"),
        ("不可能", "zh"),
        ("没有了解", "zh"),
        ("不是好的", "zh"),
        ("真好看", "zh"),
        ("好不", "zh"),
        ("Buenas noches.", "es"),
        ("Cheers!", "en"),
        ("No way!", "en"),
        ("Not at all.", "en"),
        ("Yes?", "en"),
        ("Hello, John.", "en"),
        ("No, I can hear the music.", "en"),
        ("", "en"),
        ("…", "zh"),
        ("las dos", "es"),
    ],
)
def test_what_needs_more_than_the_table_is_left_to_the_engine(text: str, source: str) -> None:
    target = "zh" if source != "zh" else "en"
    assert TABLE.translate(text, source, target) is None


@pytest.mark.parametrize(
    ("original", "answer", "source", "target", "inverted"),
    [
        ("No, I can't hear it.", "Sí, puedo oírlo.", "en", "es", True),
        ("Sí, lo tengo aquí.", "No, I have it here.", "es", "en", True),
        ("No, I can't hear it.", "No, no puedo oírlo.", "en", "es", False),
        ("No problem with that.", "Está bien.", "en", "es", False),
        ("对，我不去。", "No, I'm not going.", "zh", "en", False),
        ("对，我去。", "No, I'm going.", "zh", "en", True),
        ("不，我去。", "Yes, I'm going.", "zh", "en", False),
        ("不，我不去。", "Yes, I'm not going.", "zh", "en", True),
        ("没有。", "Yes.", "zh", "en", True),
        ("The meeting starts now.", "No.", "en", "es", False),
        ("Oui.", "No.", "fr", "en", False),
    ],
)
def test_inversions_are_seen(
    original: str, answer: str, source: str, target: str, inverted: bool
) -> None:
    assert TABLE.inverts(original, answer, source, target) is inverted


# ------------------------------------------------------------------------------- whole lines


@pytest.mark.parametrize(
    ("text", "source", "target", "expected"),
    [
        ("Hello, thank you.", "en", "zh", "你好，谢谢。"),
        ("YES YES YES!", "en", "es", "¡Sí, sí, sí!"),
        ("對對對", "zh-TW", "en", "Right, right, right"),
        ("嗯嗯，好的", "zh", "pt", "Aham, aham, tudo bem"),
        ("ok thanks", "en", "pt", "Tudo bem, obrigado"),
        ("好的谢谢", "zh", "en", "OK, thank you"),
        ("否", "zh", "en", "No"),
        ("没有。", "zh", "es", "No."),
        ("¿No?", "es", "en", "Right?"),
        ("No.", "es", "en", "No."),
        ("Hola, ¿me oyen?", "es", "en", "Hello, can you hear me?"),
        ("Oh, I see. Thanks!", "en", "es", "Ya veo. ¡Gracias!"),
        ("can you hear me", "en-GB", "es-MX", "¿Me oyen?"),
        ("Ｈｅｌｌｏ！", "en", "zh", "你好！"),
        ("I’m sorry…", "en", "pt", "Desculpe…"),
        ("Hmmmm.", "en", "zh", "呃。"),
        ("“Good morning”", "en", "es", "Buenos días"),
        ("no no no no no no no", "en", "zh", "不不不"),
        ("Buenas noches.", "es", "pt", "Boa noite."),
        ("Yes; twenty-one.", "en", "es", "Sí, veintiuno."),
        ("Really?! Not yet.", "en", "pt", "Sério? Ainda não."),
    ],
)
def test_lines(text: str, source: str, target: str, expected: str) -> None:
    assert TABLE.translate(text, source, target) == expected


@given(st.text(max_size=40), st.sampled_from(PAIRS))
def test_no_text_breaks_it(text: str, pair: tuple[str, str]) -> None:
    TABLE.translate(text, *pair)
    TABLE.inverts(text, text, *pair)


@given(st.sampled_from(FORMS), st.sampled_from(["", ".", "!", "。", "…", " "]), st.booleans())
def test_case_and_closing_marks_do_not_matter(
    entry: tuple[str, str, Concept], mark: str, upper: bool
) -> None:
    tag, form, concept = entry
    target = next(other for other in concept.said if other != tag)
    said = form.upper() if upper else form
    found = TABLE.translate(said if form.endswith(("?", "？")) else said + mark, tag, target)
    assert found is not None
    assert key(found, target) == key(concept.said[target], target)


def test_languages_that_it_lacks_are_left_to_engines() -> None:
    assert TABLE.translate("Hello", "en", "fr") is None
    assert TABLE.translate("Bonjour", "fr", "en") is None
    assert TABLE.languages == set(TAGS)


def test_pairs_are_columns() -> None:
    """Four languages, one column each: every ordered pair works."""
    for a, b in itertools.permutations(TAGS, 2):
        thanks = next(concept for concept in TABLE.concepts if concept.name == "thanks")
        assert TABLE.translate(thanks.said[a], a, b)
