// Whether a file is an AsyncAPI document by the official parser: `node asyncapi.mjs FILE`. What it only
// advises is printed, what is wrong ends this with 1.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
for (const { severity, message, path } of diagnostics) {
  console.log(`${severity === 0 ? "error" : "advice"}: ${path.join("/")}: ${message}`);
}
process.exitCode = document ? 0 : 1;
