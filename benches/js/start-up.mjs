/** Prints how many milliseconds the first call of a core takes, in this new process. */
const name = process.argv[2];
const start = performance.now();
await import(new URL(`../../js/dist/esm/core/${name}.js`, import.meta.url).href);
const { fingerprintJson } = await import(new URL("../../js/dist/esm/core/fingerprint.js", import.meta.url).href);
fingerprintJson("{}");
console.log(performance.now() - start);
