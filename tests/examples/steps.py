"""The steps that the features of all domains share, and the aggregate that a scenario is about."""

import pytest
from pytest_bdd import parsers, then, when

from lib.api import pb
from lib.client import Status, new_root

# How a command may be sent; ends the text of a step.
HOW = r'(, as event (?P<sequence>\d+))?(, with the key "(?P<key>[^"]*)")?(, (?P<times>\d+) times)?'


def words(text):
    return parsers.re(text + HOW)


def type_name(packed):
    return packed.type_url.rpartition("/")[2]


def as_text(message):
    """All fields, as they stand in the table of a step."""
    def text(field):
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            return ", ".join(f"{k}: {value[k]}" for k in sorted(value))
        return str(value)
    return {field.name: text(field) for field in message.DESCRIPTOR.fields}


def check(packed, name, table):
    """The message in an Any has this name and these fields, and no others."""
    assert type_name(packed) == f"examples.{name}"
    cls = getattr(pb.examples, name)
    columns, row = table
    assert as_text(cls.FromString(packed.value)) == as_text(cls()) | dict(zip(columns, row, strict=True))


class Aggregate:
    """The one a scenario is about, as its only client sees it."""

    def __init__(self, client, domain, tap):
        self.client, self.domain, self.tap = client, domain, tap
        self.root = new_root()
        self.next = 0
        self.sent = None       # the last CommandBook
        self.answers = []
        self.refusal = None    # of the last command
        self.looked_at = True  # the refusal

    def send(self, command, sequence=None, key=None, times=None):
        for _ in range(int(times or 1)):
            page = pb.CommandPage(sequence=self.next if sequence is None else int(sequence))
            page.command.Pack(command)
            cover = pb.Cover(domain=self.domain, root=pb.UUID(value=self.root))
            self.execute(pb.CommandBook(cover=cover, pages=[page]), key)

    def execute(self, book, key=None):
        self.no_surprise()
        self.sent, self.refusal = book, None
        try:
            answer = self.client.execute(book, key=key)
        except Status as refusal:
            self.refusal, self.looked_at = refusal, False
        else:
            self.answers.append(answer.events)
            self.next = answer.events.next_sequence

    def no_surprise(self):
        assert self.looked_at, f"refused, which no step expects: {self.refusal}"

    def history(self):
        book = self.client.event_book(self.domain, self.root)
        assert [page.num for page in book.pages] == list(range(book.next_sequence))
        assert all(page.HasField("created_at") for page in book.pages)
        return book


@pytest.fixture
def it(service, system, taps):
    it = Aggregate(system.client(), service.name, taps[service.name])
    yield it
    it.no_surprise()


def names(book):
    return ", ".join(type_name(page.event).removeprefix("examples.") for page in book.pages)


@when(parsers.parse('the same is sent again with the key "{key}"'))
def send_again(it, key):
    it.execute(it.sent, key)


@then("it is accepted")
def accepted(it):
    it.no_surprise()
    assert it.refusal is None and it.answers[-1].pages


@then(parsers.re(r"it is refused as (?P<code>[A-Z_]+): (?P<message>.*)"))
def refused(it, code, message):
    assert it.refusal is not None, f"accepted: {it.answers[-1]}"
    assert (it.refusal.name(), it.refusal.message) == (code, message)
    it.looked_at = True


@then(parsers.parse("event {number:d} is {name}"))
def event_is(it, number, name, datatable):
    check(it.history().pages[number].event, name, datatable)


@then(parsers.parse("the next event will be number {number:d}"))
def next_number(it, number):
    assert it.next == number and it.history().next_sequence == number


@then("the history is empty")
def history_empty(it):
    assert len(it.history().pages) == 0


@then(parsers.re(r"the history is (?P<wanted>[A-Z]\w*(, \w+)*)"))
def history_is(it, wanted):
    assert names(it.history()) == wanted


@then(parsers.parse("the history has {count:d} events"))
def history_count(it, count):
    assert len(it.history().pages) == count


@then(parsers.parse("the refusal carries the history {wanted}"))
def refusal_carries(it, wanted):
    book = it.refusal.book()
    assert names(book) == wanted and book.next_sequence == len(book.pages)


@then("the answer is the same")
def same_answer(it):
    assert it.answers[-1] == it.answers[-2]


@then("the service was not asked again")
def asked_once(it):
    pages = [asked.command.pages for asked in it.tap.of(it.root)]
    assert len([p for p in pages if p == it.sent.pages]) == 1


@then(parsers.parse("it was decided on a snapshot at event {number:d}"))
def decided_on(it, number, datatable):
    history = it.tap.of(it.root)[-1].events
    assert history.snapshot.sequence == number
    assert [page.num for page in history.pages] == list(range(number + 1, it.next))
    check(history.snapshot.state, type_name(history.snapshot.state).removeprefix("examples."), datatable)
