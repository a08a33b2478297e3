"""Names and fixed values that the vectors of several formats share."""

from tests.unit import receipt_factory as made
from tests.vectors.operations import Json, h

# (name, operation, input). The input of a reject is broken in one way.
Asked = tuple[str, str, Json]

SECRET = h(made.bytes_of("city secret"))
COMMITMENT = h(made.bytes_of("commitment"))
TAGS = [h(made.bytes_of(each, 16)) for each in ("first", "second", "third")]
PLACE: Json = {"commitment": COMMITMENT, "domain": 1, "epoch": 1, "line": 0}
