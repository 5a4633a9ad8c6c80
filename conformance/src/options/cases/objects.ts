import type { DeclaredCase } from "../option-case.ts";

const KEY = "secret,id=m,format=base64,data=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const IV = "AAAAAAAAAAAAAAAAAAAAAA==";

/** What `--object` takes and refuses, on a command that uses none of it. */
export const OBJECT_CASES: readonly DeclaredCase[] = [
  ...[
    "secret,id=s,data=x,,y=z,",
    "id=s,qom-type=secret,file=secret",
    "secret,id=s,file=secret.base64,format=base64",
    "secret,id=s,data=YQ=,format=base64",
    "secret,id=s,data=Y*Q=,format=base64",
    "secret,id=s,data=,format=raw",
    "secret,id=s,file=missing",
    "secret,id=s,file=secret,data=x",
    "secret,id=s,data=x,format=hex",
    "secret,id=s,data=x,more=y",
    "secret,id=s,data",
    "secret,id=s,data.x=1",
    "secret,id=s",
    "secret,data=x",
    "secret,,id=s",
    "sometimes,id=s",
    "id=s,data=x",
    "secret,id=s,keyid=m,data=x",
    '{"qom-type":"secret","id":"s","data":"x"}',
    '{"qom-type":"secret","id":"s","data":3}',
    '{"qom-type":"secret","id":"s","more":"x"}',
  ].map((object) => `map --object ${object} base`),
  `map --object ${KEY} --object secret,id=s,keyid=m,format=base64,iv=${IV},data=pZwJZBLuy3mDACEQT4YTBw== base`,
  `map --object ${KEY} --object secret,id=s,keyid=m,format=base64,iv=${IV},data=${IV} base`,
  `map --object ${KEY} --object secret,id=s,keyid=m,format=base64,iv=AAAA,data=${IV} base`,
  `map --object ${KEY} --object secret,id=s,keyid=m,format=base64,data=${IV} base`,
  `map --object ${KEY} --object secret,id=s,keyid=m,iv=${IV},data=${IV} base`,
  `map --object secret,id=m,data=short --object secret,id=s,keyid=m,iv=${IV},data=${IV} base`,
  `map --object ${KEY} --object ${KEY} base`,
  { line: "map --object secret,id=1s,data=x base", ledger: [1] },
  "map --object secret,help base",
];
