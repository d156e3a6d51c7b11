/** A page that runs the core for servers through the vectors that only it has. */
import "../../js/src/core/server-inline.js";
import { runRequestFingerprints, runRfc8785 } from "../../js/test/request-vectors.js";
import type { CorePage } from "./core-page.js";

const page: Pick<CorePage, "vectors"> = {
  async vectors() {
    const { fingerprint, canonical } = await (await fetch("/vectors.json")).json();
    return { fingerprint: runRequestFingerprints(fingerprint), rfc8785: runRfc8785(canonical) };
  },
};

Object.assign(globalThis, { corePage: page });
