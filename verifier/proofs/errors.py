"""The one error of `verifier.proofs`. Imports only `anchor.errors`."""

from anchor.errors import DeltasealError


class ProofError(DeltasealError):
    """A proof does not prove what it is shown for; `facts["step"]` names the step that failed."""

    code = "proof_invalid"
