/** Policies: what the API server would refuse is refused in its words, with the place. */
import { describe, expect, it } from "vitest";
import { documents, errorsOf, issuesOf, load, modelOf, podText, policyText } from "./manifests.ts";

const block = (fields: string) => policyText(`  ingress:\n  - from:\n    - ipBlock:\n${fields}`);
const ports = (...entries: readonly string[]) =>
  policyText(`  ingress:\n  - ports:\n${entries.map((entry) => `    - ${entry}\n`).join("")}`);
const NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: default\n";

describe("ipBlock", () => {
  const cidr = (text: string) => block(`        cidr: ${text}\n`);
  const place = "10:15 error spec.ingress[0].from[0].ipBlock.cidr:";
  const rule = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

  it("needs a cidr", () => {
    expect(issuesOf(block("        except: []\n"))).toEqual([
      "10:9 error spec.ingress[0].from[0].ipBlock.cidr: Required value",
    ]);
    expect(issuesOf(cidr('""'))).toEqual([`${place} Required value`]);
  });

  it.each([
    "10.0.0.0/33",
    "10.0.0/8",
    "10.0.0.0/",
    "10.0.0.0/-1",
    "300.0.0.0/8",
    "fd00::/129",
    "10.0.0.0/8/9",
    "fe80::1%eth0/64",
  ])("%s is none", (text) => {
    expect(issuesOf(cidr(`"${text}"`))).toEqual([`${place} Invalid value: "${text}": ${rule}`]);
  });

  it.each([
    ["10.1.0.9", "10.1.0.9/32"],
    ["fd00::1", "fd00::1/128"],
  ])("%s lacks a length, and the issue says which one", (text, meant) => {
    expect(issuesOf(cidr(text))).toEqual([
      `${place} Invalid value: "${text}": ${rule}; for this one address write "${meant}"`,
    ]);
  });

  it.each([
    "example.com",
    "www.example.com/24",
    "*.example.com",
    "https://example.com:443/x",
    "mysql",
    "example.com:443",
  ])("%s is a host name: the issue says why there is none and what to write (row 24)", (text) => {
    const { issues } = load(cidr(`"${text}"`));
    expect(issues).toMatchObject([{ code: "host-name", line: 10, column: 15 }]);
    expect(issues[0]?.message).toMatch(
      /layers 3 and 4, where packets carry addresses, and a name stands for many addresses that change\. Write .*ipBlock\.cidr.*podSelector/,
    );
  });

  it.each(["toFQDNs", "hostname", "domains", "dnsName"])("a field %s gets the same answer", (field) => {
    const { issues } = load(policyText(`  egress:\n  - to:\n    - ${field}: [example.com]\n`));
    expect(issues).toMatchObject([
      { code: "host-name", line: 9, column: 7, message: expect.stringContaining("has no host names") },
      { code: "required", path: "spec.egress[0].to[0]" },
    ]);
    expect(load(policyText(`  egress:\n  - ${field}: [example.com]\n`)).issues).toMatchObject([{ code: "host-name" }]);
  });

  it("with host bits is read without them, and a warning says so (row 19)", () => {
    expect(issuesOf(cidr("10.1.2.3/16"))).toEqual([
      `10:15 warning spec.ingress[0].from[0].ipBlock.cidr: CIDR value "10.1.2.3/16" is ambiguous in this context (should be "10.1.0.0/16" or "10.1.2.3/32"?); it is read as "10.1.0.0/16"`,
    ]);
    const [peer] = modelOf(cidr("10.1.2.3/16")).policies[0]?.ingress[0]?.peers ?? [];
    expect(peer).toMatchObject({
      cidr: { words: [(10 << 24) | (1 << 16)], prefixLength: 16 },
      cidrText: "10.1.2.3/16",
    });
  });

  it.each([
    ["010.001.000.000/16", "10.1.0.0/16"],
    ["10.1.0.0/016", "10.1.0.0/16"],
    ["::ffff:10.1.0.0/112", "10.1.0.0/16"],
  ])("%s is of an old form that is read as %s, with a warning", (text, meant) => {
    expect(issuesOf(cidr(text))).toEqual([
      `10:15 warning spec.ingress[0].from[0].ipBlock.cidr: non-standard CIDR value "${text}" will be considered invalid in a future Kubernetes release: use "${meant}"`,
    ]);
    const [peer] = modelOf(cidr(text)).policies[0]?.ingress[0]?.peers ?? [];
    expect(peer).toMatchObject({ cidr: { family: 4, words: [(10 << 24) | (1 << 16)], prefixLength: 16 } });
  });

  it("excepts only what lies strictly inside (row 18)", () => {
    const text = block(
      "        cidr: 10.0.0.0/8\n        except: [10.1.0.0/16, 10.0.0.0/8, 11.0.0.0/16, 0.0.0.0/0, fd00::/64, x, '']\n",
    );
    const wrong = (index: number, value: string, why: string) =>
      expect.stringContaining(
        `error spec.ingress[0].from[0].ipBlock.except[${index}]: Invalid value: "${value}": ${why}`,
      );
    const outside = 'must be a strict subset of `cidr` ("10.0.0.0/8")';
    expect(issuesOf(text)).toEqual([
      wrong(1, "10.0.0.0/8", outside),
      wrong(2, "11.0.0.0/16", outside),
      wrong(3, "0.0.0.0/0", outside),
      wrong(4, "fd00::/64", outside),
      wrong(5, "x", rule),
      wrong(6, "", rule),
    ]);
  });
});

describe("peers", () => {
  it("need something (row 13)", () => {
    expect(issuesOf(policyText("  ingress:\n  - from:\n    - {}\n    -\n    - podSelector:\n"))).toEqual([
      "9:7 error spec.ingress[0].from[0]: Required value: must specify a peer",
      "10:6 error spec.ingress[0].from[1]: Required value: must specify a peer",
      "11:7 error spec.ingress[0].from[2]: Required value: must specify a peer",
    ]);
  });

  it("are no ipBlock together with a selector (row 13)", () => {
    const text = policyText("  egress:\n  - to:\n    - podSelector: {}\n      ipBlock: {cidr: 10.0.0.0/8}\n");
    expect(issuesOf(text)).toEqual([
      "9:7 error spec.egress[0].to[0]: Forbidden: may not specify both ipBlock and another peer",
    ]);
  });

  it("of the other direction are an unknown field", () => {
    expect(issuesOf(policyText("  ingress:\n  - to: []\n"))).toEqual([
      '8:5 error spec.ingress[0].to: strict decoding error: unknown field "spec.ingress[0].to"; known fields: from, ports',
    ]);
  });
});

describe("ports", () => {
  const port = "spec.ingress[0].ports[0]";

  it.each([
    ["port: 0", `9:13 error ${port}.port: Invalid value: 0: must be between 1 and 65535, inclusive`],
    ["port: 65536", `9:13 error ${port}.port: Invalid value: 65536: must be between 1 and 65535, inclusive`],
    ["port: -1", `9:13 error ${port}.port: Invalid value: -1: must be between 1 and 65535, inclusive`],
    [
      "port: 80.5",
      `9:13 error ${port}.port: json: cannot unmarshal number into Go value of type int32: found the number 80.5, want a whole number`,
    ],
    [
      "port: true",
      `9:13 error ${port}.port: json: cannot unmarshal bool into Go value of type int32: found the boolean true, want a whole number`,
    ],
    [
      "port: '80'",
      `9:13 error ${port}.port: Invalid value: "80": must contain at least one letter (a-z); a number is written without quotes`,
    ],
    [
      "port: ''",
      `9:13 error ${port}.port: Invalid value: "": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)`,
    ],
    [
      "port: HTTP",
      `9:13 error ${port}.port: Invalid value: "HTTP": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)`,
    ],
    ["port: a--b", `9:13 error ${port}.port: Invalid value: "a--b": must not contain consecutive hyphens`],
    ["port: a-", `9:13 error ${port}.port: Invalid value: "a-": must not begin or end with a hyphen`],
    [
      "port: abcdefghijklmnop",
      `9:13 error ${port}.port: Invalid value: "abcdefghijklmnop": must be no more than 15 bytes`,
    ],
    ["protocol: tcp", `9:17 error ${port}.protocol: Unsupported value: "tcp": supported values: "TCP", "UDP", "SCTP"`],
    ["protocol: ''", `9:17 error ${port}.protocol: Unsupported value: "": supported values: "TCP", "UDP", "SCTP"`],
    [
      "protocol: ICMP",
      `9:17 error ${port}.protocol: Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP"`,
    ],
    [
      "protocol: 6",
      `9:17 error ${port}.protocol: json: cannot unmarshal number into Go value of type string: found the number 6, want text; write it in quotes`,
    ],
    [
      "endPort: 90",
      `9:16 error ${port}.endPort: Invalid value: 90: may not be specified when \`port\` is not specified`,
    ],
    [
      "{port: 80, endPort: 79}",
      `9:27 error ${port}.endPort: Invalid value: 79: must be greater than or equal to \`port\` (80)`,
    ],
    [
      "{port: 80, endPort: 65536}",
      `9:27 error ${port}.endPort: Invalid value: 65536: must be between 1 and 65535, inclusive`,
    ],
    [
      "{port: 80, endPort: x}",
      `9:27 error ${port}.endPort: json: cannot unmarshal string into Go value of type int32: found the text "x", want a whole number`,
    ],
    [
      "{port: 80, endport: 90}",
      `9:18 error ${port}.endport: strict decoding error: unknown field "${port}.endport"; did you mean "endPort"?`,
    ],
  ])("%s", (entry, expected) => {
    expect(errorsOf(ports(entry))).toEqual([expected]);
  });

  it("take no endPort with a name (row 28)", () => {
    expect(errorsOf(ports("{port: web, endPort: 90}"))).toEqual([
      `9:28 error ${port}.endPort: Invalid value: 90: may not be specified when \`port\` is non-numeric`,
    ]);
  });

  it("may be a range of one, all of a protocol, or nothing at all (rows 25, 26, 28)", () => {
    const { policies } = modelOf(ports("{port: 80, endPort: 80}", "protocol: UDP", "{}", ""));
    expect(policies[0]?.ingress[0]?.ports).toMatchObject([
      { protocol: "TCP", port: 80, endPort: 80 },
      { protocol: "UDP", port: undefined, endPort: undefined },
      { protocol: "TCP", port: undefined },
      { protocol: "TCP", port: undefined },
    ]);
  });

  it("with a name that no container has are warned of (row 27): ingress in the policy's namespace, egress anywhere", () => {
    const container = (name: string) => `spec:\n  containers:\n  - ports:\n    - {name: ${name}, containerPort: 80}\n`;
    const text = documents(
      NAMESPACE,
      NAMESPACE.replace("default", "other"),
      podText(container("web")),
      podText(container("dns"), "{name: b, namespace: other}"),
      policyText(
        "  ingress:\n  - ports:\n    - port: web\n    - port: dns\n  egress:\n  - ports:\n    - port: dns\n    - port: nope\n",
      ),
    );
    expect(issuesOf(text)).toEqual([
      '38:13 warning spec.ingress[0].ports[1].port: no container of namespace default declares the TCP port "dns": this entry matches nothing',
      '42:13 warning spec.egress[0].ports[1].port: no container declares the TCP port "nope": this entry matches nothing',
    ]);
  });
});

describe("policyTypes", () => {
  it("are Ingress and Egress, at most two (row 9)", () => {
    expect(issuesOf(policyText("  policyTypes: [ingress]\n"))).toEqual([
      '7:17 error spec.policyTypes[0]: Unsupported value: "ingress": supported values: "Ingress", "Egress"',
    ]);
    expect(issuesOf(policyText("  policyTypes: [Ingress, Egress, Ingress]\n"))).toEqual([
      '7:16 error spec.policyTypes: Invalid value: ["Ingress", "Egress", "Ingress"]: may not specify more than two policyTypes',
    ]);
    expect(modelOf(policyText("  policyTypes: [Ingress, Ingress]\n")).policies[0]?.types).toEqual(["ingress"]);
  });
});

describe("selectors", () => {
  const expressions = (...entries: readonly string[]) =>
    policyText().replace("{}", `\n    matchExpressions:\n${entries.map((entry) => `    - ${entry}\n`).join("")}`);
  const first = "spec.podSelector.matchExpressions[0]";

  it.each([
    [
      "{key: a, operator: in, values: [b]}",
      `8:26 error ${first}.operator: Invalid value: "in": not a valid selector operator (one of In, NotIn, Exists, DoesNotExist)`,
    ],
    [
      "{key: a, values: [b]}",
      `8:7 error ${first}.operator: Invalid value: "": not a valid selector operator (one of In, NotIn, Exists, DoesNotExist)`,
    ],
    [
      "{key: a, operator: In}",
      `8:7 error ${first}.values: Required value: must be specified when \`operator\` is 'In' or 'NotIn'`,
    ],
    [
      "{key: a, operator: NotIn, values: []}",
      `8:41 error ${first}.values: Required value: must be specified when \`operator\` is 'In' or 'NotIn'`,
    ],
    [
      "{key: a, operator: Exists, values: [b]}",
      `8:42 error ${first}.values: Forbidden: may not be specified when \`operator\` is 'Exists' or 'DoesNotExist'`,
    ],
    [
      "{key: a, operator: In, values: [1]}",
      `8:39 error ${first}.values[0]: json: cannot unmarshal number into Go value of type string: found the number 1, want text; write it in quotes`,
    ],
    [
      "{key: a, operator: In, values: b}",
      `8:38 error ${first}.values: json: cannot unmarshal string into Go value of type slice: found the text "b", want a list`,
    ],
    [
      "5",
      `8:7 error ${first}: json: cannot unmarshal number into Go value of type map: found the number 5, want a map`,
    ],
    [
      "{key: a, operator: Exists, value: b}",
      `8:34 error ${first}.value: strict decoding error: unknown field "${first}.value"; did you mean "values"?`,
    ],
  ])("%s", (entry, expected) => {
    expect(errorsOf(expressions(entry))).toContain(expected);
  });

  it("with an unreadable part are errors, never fewer requirements", () => {
    for (const entry of [
      "5",
      "{key: a, operator: in, values: [b]}",
      "{operator: Exists}",
      "{key: a, operator: In, values: b}",
    ]) {
      expect(load(expressions(entry)).model).toBeUndefined();
    }
  });
});

describe("wrong types", () => {
  it.each([
    [
      "  ingress: {}\n",
      "7:12 error spec.ingress: json: cannot unmarshal object into Go value of type slice: found a map, want a list",
    ],
    [
      "  ingress: all\n",
      '7:12 error spec.ingress: json: cannot unmarshal string into Go value of type slice: found the text "all", want a list',
    ],
    [
      "  ingress: [all]\n",
      '7:13 error spec.ingress[0]: json: cannot unmarshal string into Go value of type map: found the text "all", want a map',
    ],
    [
      "  ingress: [{from: [all]}]\n",
      '7:21 error spec.ingress[0].from[0]: json: cannot unmarshal string into Go value of type map: found the text "all", want a map',
    ],
    [
      "  ingress: [{from: [{ipBlock: 10.0.0.0/8}]}]\n",
      '7:31 error spec.ingress[0].from[0].ipBlock: json: cannot unmarshal string into Go value of type map: found the text "10.0.0.0/8", want a map',
    ],
  ])("%s", (spec, expected) => {
    expect(errorsOf(policyText(spec))).toContain(expected);
    expect(load(policyText(spec)).model).toBeUndefined();
  });

  it("null is the same as absent", () => {
    const text = policyText(
      "  policyTypes:\n  ingress:\n  egress: ~\n",
      "{name: p, labels: ~, annotations: , creationTimestamp: null}",
    );
    expect(issuesOf(text)).toEqual([]);
    expect(modelOf(text).policies[0]).toMatchObject({ types: ["ingress"], ingress: [], egress: [] });
  });
});
