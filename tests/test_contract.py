"""The service's contract: what the company's own service answers, and what ours adds."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

from promo.embedded import EmbeddedAPI
from promo.world import WORLDS

ROWS, SEED = 10_025, 17
FIELDS = ["id", "competence", "network_ability", "promoted"]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    data = tmp_path_factory.mktemp("contract") / "data.db"
    with EmbeddedAPI("collider", ROWS, SEED, data, port=0) as api:
        yield api.url


@pytest.fixture(scope="module")
def employees():
    """Return the rows that the service should have, made without it."""
    sample = WORLDS["collider"].sample(ROWS, SEED)
    columns = (sample.competence, sample.network_ability, sample.promoted)
    rows = zip(range(ROWS), *(column.tolist() for column in columns), strict=True)
    return [dict(zip(FIELDS, row, strict=True)) for row in rows]


def get(url):
    """Return the status, headers and body of one request."""
    try:
        with opener.open(url, timeout=10) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def original(rows, page):
    """Return what the company's service answers to a valid request: at most 10 rows, or []."""
    return rows[page * 10 : page * 10 + 10]


@pytest.mark.parametrize(
    "page", [0, 1, 7, 999, 1001, 1002, 1003, 1_000_000, 10**15, 10**17, 2**63 // 10]
)
def test_valid_requests_answer_as_the_original(url, employees, page):
    """First, last, short and missing pages are the original's to the letter."""
    status, headers, body = get(f"{url}/api/v1/data?page={page}")
    assert (status, json.loads(body)) == (200, original(employees, page))
    assert headers["content-type"] == "application/json"
    assert headers["x-total-count"] == str(ROWS)
    assert all(list(employee) == FIELDS for employee in json.loads(body))
    assert all(isinstance(employee["promoted"], bool) for employee in json.loads(body))


@pytest.mark.parametrize("query", ["page=0&extra=1", "page=00", "page=5&page=0", "size=10&page=0"])
def test_other_spellings_of_a_page(url, employees, query):
    """Unknown parameters, leading zeros, repeats and any order do no harm."""
    status, _, body = get(f"{url}/api/v1/data?{query}")
    assert (status, json.loads(body)) == (200, employees[:10])


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        ("", "page", "required"),
        ("size=10", "page", "required"),
        ("page=", "page", "valid integer"),
        ("page=two", "page", "valid integer"),
        ("page=1.5", "page", "valid integer"),
        ("page=NaN", "page", "valid integer"),
        ("page=0x10", "page", "valid integer"),
        ("page=-1", "page", "greater than or equal to 0"),
        ("page=-9223372036854775809", "page", "greater than or equal to 0"),
        ("page=9223372036854775808", "page", "less than or equal to 9223372036854775807"),
        (f"page={10**100}", "page", "less than or equal to"),
        (f"page={'9' * 5000}", "page", "integer"),
        ("page=0&size=0", "size", "greater than or equal to 1"),
        ("page=0&size=-1", "size", "greater than or equal to 1"),
        ("page=0&size=10001", "size", "less than or equal to 10000"),
        ("page=0&size=99999", "size", "less than or equal to 10000"),
        ("page=0&size=ten", "size", "valid integer"),
        ("page=0&size=", "size", "valid integer"),
    ],
)
def test_invalid_requests_are_422_and_say_why(url, query, field, message):
    """A wrong or missing parameter is named, with what was expected of it."""
    status, headers, body = get(f"{url}/api/v1/data?{query}")
    assert status == 422
    assert headers["content-type"] == "application/json"
    (detail,) = json.loads(body)["detail"]
    assert detail["loc"] == ["query", field]
    assert message in detail["msg"]


@pytest.mark.parametrize(("size", "page"), [(1, 0), (10, 3), (999, 10), (10_000, 0), (10_000, 1)])
def test_size_is_rows_to_a_page(url, employees, size, page):
    """`size` from 1 to 10,000 cuts the same rows into other pages."""
    status, headers, body = get(f"{url}/api/v1/data?page={page}&size={size}")
    assert (status, json.loads(body)) == (200, employees[page * size : (page + 1) * size])
    assert headers["x-total-count"] == str(ROWS)


def test_health(url):
    """Health tells what is served, without the port."""
    status, _, body = get(f"{url}/api/v1/health")
    assert status == 200
    assert json.loads(body) == {
        "status": "ok",
        "source": f"world:collider?rows={ROWS}&seed={SEED}",
        "employees": ROWS,
    }


def test_openapi_tells_the_truth(url):
    """The schema has the fields in order with their types, the bounds, the header and the 422."""
    schema = json.loads(get(f"{url}/openapi.json")[2])
    operation = schema["paths"]["/api/v1/data"]["get"]
    page, size = (parameter["schema"] for parameter in operation["parameters"])
    assert (page["type"], page["minimum"], page["maximum"]) == ("integer", 0, 2**63 - 1)
    assert (size["type"], size["minimum"], size["maximum"]) == ("integer", 1, 10_000)
    assert size["default"] == 10
    assert [parameter["required"] for parameter in operation["parameters"]] == [True, False]
    assert set(operation["responses"]) == {"200", "422"}
    answer = operation["responses"]["200"]
    assert "X-Total-Count" in answer["headers"]
    assert answer["content"]["application/json"]["schema"]["items"]["$ref"].endswith("/Employee")
    employee = schema["components"]["schemas"]["Employee"]
    types = {name: field["type"] for name, field in employee["properties"].items()}
    assert list(types.items()) == list(
        zip(FIELDS, ["integer", "number", "number", "boolean"], strict=True)
    )
    assert employee["required"] == FIELDS


class Addresses(HTMLParser):
    """Collects every address that a page names."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note the attributes that make a browser load something."""
        self.found += [value for name, value in attrs if name in ("href", "src", "spec-url")]


@pytest.mark.parametrize(("page", "assets"), [("/docs", 3), ("/redoc", 3)])
def test_documentation_needs_no_internet(url, page, assets):
    """All that /docs and /redoc load comes from the service, and no other address is in them."""
    status, headers, body = get(url + page)
    assert status == 200
    assert "//" not in body.decode().replace("<!-- ", "").replace("// ", "")
    assert "default-src 'self'" in headers["content-security-policy"]
    found = Addresses(body.decode()).found
    assert len(found) == assets
    for address in [*found, "openapi.json"]:
        absolute = urljoin(url + page, address)
        assert urlsplit(absolute).netloc == urlsplit(url).netloc
        status, _, asset = get(absolute)
        assert (status, len(asset) > 1000) == (200, True), address


def test_openapi_names_no_outside_address(url):
    """Nor is there one in the schema."""
    assert b"://" not in get(f"{url}/openapi.json")[2]


def test_what_is_not_there_is_404_and_405(url):
    """Unknown paths and methods get short JSON answers."""
    assert get(f"{url}/api/v1/other")[0] == 404
    with pytest.raises(urllib.error.HTTPError) as caught:
        opener.open(urllib.request.Request(f"{url}/api/v1/data?page=0", method="DELETE"))
    with caught.value as answer:
        assert (answer.code, answer.headers["allow"]) == (405, "GET")
        assert json.loads(answer.read()) == {"detail": "Method Not Allowed"}


def test_schemathesis_finds_nothing(url, tmp_path):
    """Requests made from the OpenAPI schema, valid and not, find no failure."""
    command = Path(sys.executable).with_name("schemathesis")
    result = subprocess.run(
        [command, "run", f"{url}/openapi.json", "--max-examples=200", "--seed=1", "--no-color"],
        cwd=tmp_path,  # it leaves its own notes
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    assert "No issues found" in result.stdout
    assert "Tested: 2" in result.stdout
