// The one error of this verifier. `code` is a word of docs/reference: the same that the Python verifier gives.

/** Something is not what its format asks for, or a proof does not prove what it is shown for. */
export class Refused extends Error {
  constructor(code) {
    super(code);
    this.name = "Refused";
    this.code = code;
  }
}
