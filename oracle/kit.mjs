// What a consumer does, with what a consumer gets: packs the npm package, installs the tarball in an empty
// project, compiles oracle/README.md's Solidity against it with forge and its TypeScript with tsc, deploys the
// oracle that the tarball holds to a real anvil, and reads one signed rating there by Solidity, viem and cast.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";
import { concat, createWalletClient, hashTypedData, http, keccak256, numberToHex, parseSignature, publicActions } from "viem";
import { serializeCompactSignature, signatureToCompactSignature, toHex } from "viem";
import { privateKeyToAccount } from "viem/accounts";

const here = fileURLToPath(new URL(".", import.meta.url));
const binary = (name) => join(here, `node_modules/@foundry-rs/${name}-linux-amd64/bin`);
const readme = readFileSync(join(here, "README.md"), "utf8");
const block = (language) => {
  const [, text] = readme.match(new RegExp("```" + language + "\n([^]*?)```")) ?? [];
  assert(text, `README.md has no block of ${language}`);
  return text;
};

const project = mkdtempSync(join(tmpdir(), "assay-kit-"));
const run = (program, args, options = {}) =>
  execFileSync(program, args, { cwd: project, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], ...options });
const write = (name, text) => writeFileSync(join(project, name), text);

const anvil = spawn(join(binary("anvil"), "anvil"), ["--port", "0"], { stdio: ["ignore", "pipe", "inherit"] });
try {
  const [{ filename, files }] = JSON.parse(
    run("npm", ["pack", "--json", "--pack-destination", project], { cwd: join(here, "contracts") }),
  );
  assert(files.every(({ path }) => /^(src|reader)\/|^(README.md|package.json)$/.test(path)), "the tarball holds more");

  // The peers come from our lock, so that nothing is asked of the network.
  const peers = ["viem", "@openzeppelin/contracts"].map((name) => join(here, "node_modules", name));
  write("package.json", JSON.stringify({ name: "consumer", version: "1.0.0", type: "module", private: true }));
  const quiet = ["--offline", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
  run("npm", ["install", ...quiet, `./${filename}`, ...peers]);

  // Solidity: the README's contract, and the oracle itself for the chain.
  const at = (name) => `"${name}/=node_modules/${name}/"`;
  write(
    "foundry.toml",
    `[profile.default]
src = "contracts"
libs = []
solc = "${join(here, "contracts/solc")}"
offline = true
auto_detect_remappings = false
optimizer = true
optimizer_runs = 200
allow_paths = ["${here}"]
remappings = [${at("@assay/contracts")}, ${at("@openzeppelin/contracts")}]
`,
  );
  mkdirSync(join(project, "contracts"));
  write("contracts/Lender.sol", block("solidity"));
  write("contracts/Deploy.sol", 'pragma solidity 0.8.30;\nimport "@assay/contracts/src/RatingOracle.sol";\n');
  run(join(binary("forge"), "forge"), ["build"]);
  const built = (name) => JSON.parse(readFileSync(join(project, `out/${name}.sol/${name}.json`), "utf8"));

  // TypeScript: the README's module, strictly typed against the package.
  write("reader.ts", block("ts"));
  write(
    "misuse.ts",
    `import { decodeWord, entityKey } from "@assay/contracts";
// @ts-expect-error A word is a bigint.
decodeWord("0x00");
// @ts-expect-error There is no such kind.
entityKey({ kind: "validator", chainId: 1, address: "0x" });
// @ts-expect-error It may be null, undefined never.
decodeWord(1n).letter satisfies undefined;
`,
  );
  const tsc = join(here, "node_modules/.bin/tsc");
  const strict = ["--strict", "--target", "es2022", "--module", "nodenext", "--skipLibCheck"];
  run(tsc, [...strict, "reader.ts", "misuse.ts"], { stdio: "inherit" });
  // The reader's own types are those it declares.
  run(tsc, [...strict, "--noEmit", "--allowJs", "--checkJs", join(here, "contracts/reader/index.mjs")], { stdio: "inherit" });

  let url;
  for await (const line of createInterface({ input: anvil.stdout })) {
    if (line.startsWith("Listening on ")) {
      url = `http://${line.slice("Listening on ".length).trim()}`;
      break;
    }
  }
  anvil.stdout.resume();
  const kit = await import(pathToFileURL(join(project, "node_modules/@assay/contracts/reader/index.mjs")));
  const reader = await import(pathToFileURL(join(project, "reader.js")));

  const client = createWalletClient({ transport: http(url), pollingInterval: 50 }).extend(publicActions);
  const [account] = await client.getAddresses();
  const chain = null;
  const deploy = async (name, args) => {
    const { abi, bytecode } = built(name);
    const hash = await client.deployContract({ abi, bytecode: bytecode.object, args, account, chain });
    return { abi, address: (await client.waitForTransactionReceipt({ hash })).contractAddress };
  };
  const keys = ["one", "two", "three"].map((name) => privateKeyToAccount(keccak256(toHex(name))));
  keys.sort((a, b) => (BigInt(a.address) < BigInt(b.address) ? -1 : 1));
  const oracle = await deploy("RatingOracle", [account, account, keys.map(({ address }) => address), 2]);

  // Three ratings, signed by the first and the third of three signers.
  const now = Number((await client.getBlock()).timestamp);
  const observed = now - 60;
  const entities = [1, 2, 3].map((n) =>
    kit.entityKey({ kind: "avs", chainId: 1, address: toHex(n, { size: 20 }) }),
  );
  const word = (grade, seq, flags = 0) =>
    (BigInt(observed) << 216n) | (9n << 144n) | (BigInt(seq) << 112n) | (2n << 96n) | (BigInt(flags) << 88n) |
    (BigInt(grade) << 80n) | (7_125n << 64n) | (21_000_000n << 32n) | 1_250_000n;
  const words = [word(8, 1), word(10, 4, 0x02), word(20, 1, 0x18)];
  const node = (left, right) => keccak256(concat(["0x01", left, right]));
  const leaves = entities.map((entity, n) => keccak256(concat(["0x00", entity, numberToHex(words[n], { size: 32 })])));
  const inner = node(leaves[0], leaves[1]);
  const domain = { name: "Assay", version: "1", chainId: await client.getChainId(), verifyingContract: oracle.address };
  const fields = { root: "bytes32", count: "uint32", epoch: "uint32", deadline: "uint40" };
  const typed = {
    domain,
    types: { RatingBatch: Object.entries(fields).map(([name, type]) => ({ name, type })) },
    primaryType: "RatingBatch",
    message: { root: node(inner, leaves[2]), count: 3, epoch: 1, deadline: now + 600 },
  };
  const sign = async (key) =>
    serializeCompactSignature(signatureToCompactSignature(parseSignature(await key.signTypedData(typed))));
  const signatures = concat([await sign(keys[0]), await sign(keys[2])]);
  const paths = [[leaves[1], leaves[2]], [leaves[0], leaves[2]], [inner]];
  const pulls = entities.map((entity, index) => ({
    entity, word: words[index], index, count: 3, path: paths[index], bitmap: 0b101n, signatures, deadline: now + 600,
  }));
  assert.equal(
    await client.readContract({ ...oracle, functionName: "batchDigest", args: [typed.message.root, 3, 1, now + 600] }),
    hashTypedData(typed),
  );

  // What a quorum signed is accepted, and nothing else.
  const council = await kit.councilOf(client, oracle.address);
  assert.deepEqual([council.epoch, council.threshold, council.signers.length], [1, 2, 3]);
  for (const pull of pulls) assert.equal((await kit.verifyPull(council, pull)).letter, kit.decodeWord(pull.word).letter);
  const [pull] = pulls;
  const swapped = concat([`0x${signatures.slice(130)}`, signatures.slice(0, 130)]);
  for (const [fault, changed] of [
    [/is not its own/, { word: pull.word - (1n << 80n) }],
    [/is not its own/, { entity: entities[1] }],
    [/is not its own/, { deadline: pull.deadline + 1 }],
    [/is not its own/, { bitmap: 0b011n }],
    [/is not its own/, { signatures: swapped }],
    [/is not its own/, { index: 1 }],
    [/path/, { index: 3 }],
    [/path/, { path: pull.path.slice(1) }],
    [/path/, { path: [...pull.path, leaves[0]] }],
    [/named, expected 2/, { bitmap: 0b111n }],
    [/named, expected 2/, { bitmap: 0b1001n }],
    [/named, expected 2/, { signatures: signatures.slice(0, 130) }],
  ]) {
    await assert.rejects(kit.verifyPull(council, { ...pull, ...changed }), fault);
  }

  // Before it is there, nobody finds it; then the README's module brings it, and all read the same.
  assert.equal(await kit.ratingOf(client, oracle.address, entities[0]), null);
  await assert.rejects(reader.read(url, oracle.address, entities[0]), /never rated/);
  const say = console.log;
  console.log = () => {};
  for (const pull of pulls) {
    const data = await reader.accept(url, oracle.address, pull);
    const hash = await client.writeContract({ ...oracle, functionName: "fulfillOracleQuery", args: [data], account, chain });
    const { status } = await client.waitForTransactionReceipt({ hash });
    assert.equal(status, "success");
  }
  console.log = say;
  assert.equal(await reader.read(url, oracle.address, entities[0]), "BBB+, expected loss 0.125 %");
  for (const entity of entities) {
    const solidity = await client.readContract({ ...oracle, functionName: "rating", args: [entity] });
    const { flags, ...ours } = await kit.ratingOf(client, oracle.address, entity);
    const { asOf, lag, logPos, seq, model, grade, score, pd, el } = solidity;
    assert.deepEqual(
      { asOf, storedAt: asOf + lag, logPos: Number(logPos), seq, model, grade, letter: kit.LETTERS[grade - 1], score, pd, el },
      ours,
    );
    assert.deepEqual([flags.watchNegative, flags.withdrawn], [(solidity.flags & 2) !== 0, (solidity.flags & 16) !== 0]);
  }
  await assert.rejects(reader.read(url, oracle.address, entities[2]), /withdrawn/);

  // The rule of reliance is the contract's, to the second.
  for (const [entity, maxAge] of entities.flatMap((entity) => [0, 59, 60, 61, 62, 63, 86_400].map((age) => [entity, age]))) {
    const block = await client.getBlock();
    const [ok] = await client.readContract({
      ...oracle, functionName: "tryRating", args: [entity, BigInt(maxAge)], blockNumber: block.number,
    });
    const rating = await kit.ratingOf(client, oracle.address, entity);
    assert.equal(kit.unreliable(rating, maxAge, Number(block.timestamp)) === null, ok, `${entity} ${maxAge}`);
  }

  // The README's contract.
  const policy = {
    ltvByGrade: `0x${"50505050505050503c3c3c".padEnd(40, "0")}`,
    ltvCap: 8_000, thresholdCap: 8_500, margin: 500, silentLtv: 1_000, maxStepPerDay: 100, maxAge: 86_400,
  };
  for (const [entity, isInvestmentGrade] of [[entities[0], true], [entities[1], true], [entities[2], false]]) {
    const lender = await deploy("Lender", [oracle.address, entity, policy]);
    assert.equal(await client.readContract({ ...lender, functionName: "isInvestmentGrade" }), isInvestmentGrade);
    const { result } = await client.simulateContract({ ...lender, functionName: "poke", account });
    assert.equal(result > 0n, true);
  }

  // The README's lines of cast, each as it stands.
  const environment = {
    ...process.env, ETH_RPC_URL: url, ORACLE: oracle.address, ENTITY: entities[0],
    PATH: binary("cast") + delimiter + process.env.PATH,
  };
  const lines = readme.split("\n").filter((line) => line.startsWith("cast "));
  assert(lines.length >= 5, "README.md has lost its lines of cast");
  const said = lines.map((line) => run("sh", ["-ec", line], { env: environment }));
  assert.match(said[0], /^8$/m);
  assert.deepEqual(said[1].trim().split("\n").map((value) => value.split(" ")[0]), ["8", "7125", "0"]);
  assert.equal(kit.decodeWord(BigInt(said[2].split(" ")[0])).letter, "BBB+");
  assert.match(said[3], new RegExp(entities[0]));
  const avs = { kind: "avs", chainId: 1, address: "0x870679E138bCdf293b7Ff14dD44b70FC97e12fc0" };
  assert.equal(said[4].trim(), kit.entityKey(avs));
  console.log(`the kit works: ${filename}, ${files.length} files, ${lines.length} lines of cast`);
} finally {
  anvil.kill("SIGKILL");
  rmSync(project, { recursive: true, force: true });
}
