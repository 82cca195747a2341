// What two libraries that know nothing of Assay make of the same EIP-712 message: digests,
// signatures, and whose they take a signature for. Standard input and output are JSON.
import { readFileSync } from "node:fs";
import { SigningKey, TypedDataEncoder, Wallet, verifyTypedData } from "ethers";
import { hashTypedData, recoverTypedDataAddress } from "viem";
import { privateKeyToAccount } from "viem/accounts";

const { typed, secrets, signatures } = JSON.parse(readFileSync(0, "utf8"));
const { EIP712Domain, ...types } = typed.types;
const { domain, primaryType, message } = typed;

const ethers = {
  digest: TypedDataEncoder.hash(domain, types, message),
  signature: await new Wallet(new SigningKey(secrets.ethers)).signTypedData(domain, types, message),
  recovered: signatures.map((signature) => verifyTypedData(domain, types, message, signature)),
};
const viemData = { domain, types, primaryType, message };
const viem = {
  digest: hashTypedData(viemData),
  signature: await privateKeyToAccount(secrets.viem).signTypedData(viemData),
  recovered: await Promise.all(
    signatures.map((signature) => recoverTypedDataAddress({ ...viemData, signature })),
  ),
};
console.log(JSON.stringify({ ethers, viem }));
