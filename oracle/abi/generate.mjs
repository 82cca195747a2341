// Writes what the Rust side embeds from what forge built: {"abi": …, "bytecode": "0x…"} per contract.
import { readFileSync, writeFileSync } from "node:fs";

for (const name of process.argv.slice(2)) {
  const built = new URL(`../contracts/out/${name}.sol/${name}.json`, import.meta.url);
  const { abi, bytecode } = JSON.parse(readFileSync(built, "utf8"));
  const kept = JSON.stringify({ abi, bytecode: bytecode.object }, null, 1);
  writeFileSync(new URL(`${name}.json`, import.meta.url), `${kept}\n`);
}
