/** What the API server would refuse is refused in its words, with the place; what it minds with a warning is a warning. */
import { describe, expect, it } from "vitest";
import { loadCluster } from "../../compiler/compile.ts";
import { documents, errorsOf, issuesOf, load, modelOf, podText, policyText } from "./manifests.ts";

const SUBDOMAIN = expect.stringContaining("a lowercase RFC 1123 subdomain must consist of");
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

describe("labels", () => {
  const labels = (fields: string) => podText("", `name: a\n  labels:\n    ${fields}`);
  const value = "a valid label must be an empty string or consist of alphanumeric characters";

  it.each([
    ["app: true", "bool", "the boolean true"],
    ["app: 1", "number", "the number 1"],
    ["app: 1.10", "number", "the number 1.1"],
    ["app: [a]", "array", "a list"],
    ["app: {a: b}", "object", "a map"],
  ])("%s is no text", (fields, json, found) => {
    const hint = json === "array" || json === "object" ? "" : "; write it in quotes";
    expect(errorsOf(labels(fields))).toEqual([
      `6:10 error metadata.labels.app: json: cannot unmarshal ${json} into Go value of type string: found ${found}, want text${hint}`,
    ]);
  });

  it("without a value have the empty one", () => {
    expect([...(modelOf(labels("app:")).endpoints[0]?.labels ?? [])]).toEqual([["app", ""]]);
  });

  it.each([
    ["app: a b", "6:10", value],
    ["app: -a", "6:10", value],
    [`app: ${"a".repeat(64)}`, "6:10", "must be no more than 63 bytes"],
    ["a b: c", "6:5", "name part must consist of alphanumeric characters"],
    [`${"a".repeat(64)}: c`, "6:5", "name part must be no more than 63 bytes"],
    ["/a: c", "6:5", "prefix part must be non-empty"],
    ["example.com/: c", "6:5", "name part must be non-empty"],
    ["Example.com/a: c", "6:5", "prefix part a lowercase RFC 1123 subdomain must consist of"],
    ["a/b/c: d", "6:5", "a valid label key must consist of"],
  ])("%s", (fields, place, why) => {
    const errors = errorsOf(labels(fields));
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain(`${place} error metadata.labels`);
    expect(errors[0]).toContain(why);
  });

  it("of policies and selectors are held to the same", () => {
    expect(errorsOf(policyText("", "{name: p, labels: {a: b c}}"))).toEqual([expect.stringContaining(value)]);
    expect(errorsOf(policyText().replace("{}", "{matchLabels: {a: b c}}"))).toEqual([expect.stringContaining(value)]);
  });
});

describe("annotations", () => {
  it("may hold anything, up to 256 KiB in all", () => {
    const annotated = (text: string) => podText("", `name: a\n  annotations:\n    Example.com/A: "${text}"`);
    expect(errorsOf(annotated("{anything: goes}"))).toEqual([]);
    expect(errorsOf(annotated("x".repeat(262_144)))).toEqual([
      "6:5 error metadata.annotations: Too long: may not be more than 262144 bytes",
    ]);
  });
});

describe("names", () => {
  it("are DNS names, and the rest of the object is read all the same", () => {
    expect(errorsOf(policyText("  policyTypes: [x]\n", "name: P_1"))).toEqual([
      SUBDOMAIN,
      expect.stringContaining("Unsupported value"),
    ]);
    expect(errorsOf(NAMESPACE.replace("default", "a.b"))).toEqual([
      '4:9 error metadata.name: Invalid value: "a.b": must not contain dots',
    ]);
    expect(errorsOf(podText("", `name: ${"a".repeat(254)}`))[0]).toMatch(/: must be no more than 253 bytes$/);
    expect(errorsOf(podText("", "{name: a, namespace: A}"))).toEqual([
      expect.stringContaining('4:24 error metadata.namespace: Invalid value: "A": a lowercase RFC 1123 label'),
    ]);
  });

  it("are needed", () => {
    expect(errorsOf(podText("", "labels: {}"))).toEqual([
      "4:3 error metadata.name: Required value: name or generateName is required",
    ]);
    expect(errorsOf(podText("", "generateName: a-"))).toEqual([
      "4:3 error metadata.name: Required value: the name that the API server generated is needed",
    ]);
    expect(errorsOf("apiVersion: v1\nkind: Pod\n")).toHaveLength(1);
  });

  it("are taken once: the second object names the place of the first (row 10)", () => {
    expect(
      loadCluster([
        { name: "one.yaml", text: policyText() },
        { name: "two.yaml", text: documents(NAMESPACE, policyText()) },
      ]).issues,
    ).toMatchObject([
      {
        file: "two.yaml",
        line: 9,
        column: 9,
        path: "metadata.name",
        message: 'NetworkPolicy "default/p" already exists: the first is at one.yaml:4:9',
      },
    ]);
    expect(errorsOf(documents(podText(), podText("", "{name: a, namespace: default}")))).toHaveLength(1);
    expect(errorsOf(documents(podText(), podText("", "{name: a, namespace: kube-system}")))).toHaveLength(0);
  });

  it("of nodes and namespaces stand in no namespace", () => {
    expect(errorsOf("apiVersion: v1\nkind: Node\nmetadata:\n  name: a\n  namespace: b\n")).toEqual([
      "5:14 error metadata.namespace: Forbidden: not allowed on this type",
    ]);
  });
});

describe("unknown fields", () => {
  it.each([
    [policyText().replace("podSelector", "podSelectors"), "6:3", "spec.podSelectors", 'did you mean "podSelector"?'],
    [policyText("  ingres: []\n"), "7:3", "spec.ingres", 'did you mean "ingress"?'],
    [policyText("  policyType: []\n"), "7:3", "spec.policyType", 'did you mean "policyTypes"?'],
    [policyText("  podselector: {}\n"), "7:3", "spec.podselector", 'did you mean "podSelector"?'],
    [policyText("  order: 5\n"), "7:3", "spec.order", "known fields: podSelector, policyTypes, ingress, egress"],
    [policyText("", "{name: p, lables: {}}"), "4:13", "metadata.lables", 'did you mean "labels"?'],
    [podText("labels: {}\n"), "5:1", "labels", "known fields: apiVersion, kind, metadata, spec, status"],
    [
      block("        cidr: 10.0.0.0/8\n        excepts: []\n"),
      "11:9",
      "spec.ingress[0].from[0].ipBlock.excepts",
      'did you mean "except"?',
    ],
  ])("in what decides are errors", (text, place, path, help) => {
    expect(errorsOf(text)).toEqual([`${place} error ${path}: strict decoding error: unknown field "${path}"; ${help}`]);
  });

  it("in the specs and states of pods and nodes are the API server's business", () => {
    const spec =
      "spec:\n  anything: 1\n  containers:\n  - {name: c, image: x, unheardOf: [1]}\nstatus: {whatever: 2}\n";
    expect(errorsOf(podText(spec))).toEqual([]);
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

describe("pods", () => {
  it.each([
    [
      "status: {podIP: here}\n",
      '5:17 error status.podIP: Invalid value: "here": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff); a host name is no address, and packets carry addresses',
    ],
    [
      "status: {podIP: 10.0.0.300}\n",
      '5:17 error status.podIP: Invalid value: "10.0.0.300": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
    ],
    [
      "status: {podIP: 10.0.0.0/8}\n",
      '5:17 error status.podIP: Invalid value: "10.0.0.0/8": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
    ],
    ["status: {podIPs: [{ip: x}]}\n", expect.stringContaining('5:24 error status.podIPs[0].ip: Invalid value: "x"')],
    [
      "status: {podIPs: [10.0.0.1]}\n",
      expect.stringContaining("5:19 error status.podIPs[0]: json: cannot unmarshal string"),
    ],
    [
      "status: {podIP: 10.0.0.2, podIPs: [{ip: 10.0.0.1}]}\n",
      '5:41 error status.podIPs[0].ip: Invalid value: "10.0.0.1": must be equal to `podIP`',
    ],
    [
      "status: {podIPs: [{ip: 10.0.0.1}, {ip: 10.0.0.2}]}\n",
      '5:18 error status.podIPs: Invalid value: ["10.0.0.1", "10.0.0.2"]: may specify no more than one IP for each IP family',
    ],
    [
      "status: {phase: running}\n",
      '5:17 error status.phase: Unsupported value: "running": supported values: "Pending", "Running", "Succeeded", "Failed", "Unknown"',
    ],
    [
      "spec: {hostNetwork: 'yes'}\n",
      '5:21 error spec.hostNetwork: json: cannot unmarshal string into Go value of type bool: found the text "yes", want true or false',
    ],
    ["spec: {nodeName: N1}\n", SUBDOMAIN],
    [
      "spec: {containers: [{ports: [{containerPort: 0}]}]}\n",
      "5:46 error spec.containers[0].ports[0].containerPort: Required value",
    ],
    [
      "spec: {containers: [{ports: [{name: web}]}]}\n",
      "5:30 error spec.containers[0].ports[0].containerPort: Required value",
    ],
    [
      "spec: {containers: [{ports: [{containerPort: 65536}]}]}\n",
      "5:46 error spec.containers[0].ports[0].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive",
    ],
    [
      "spec: {initContainers: [{ports: [{name: a, containerPort: 1}, {name: a, containerPort: 2}]}]}\n",
      '5:70 error spec.initContainers[0].ports[1].name: Duplicate value: "a"',
    ],
    [
      "spec: {containers: [{ports: [{containerPort: 1, protocol: ICMP}]}]}\n",
      '5:59 error spec.containers[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP"',
    ],
  ])("%s", (rest, expected) => {
    expect(errorsOf(podText(rest))).toEqual([expected]);
  });

  it("of a time that is none are refused", () => {
    expect(errorsOf(podText("", "{name: a, creationTimestamp: yesterday}"))).toEqual([
      '4:32 error metadata.creationTimestamp: Invalid value: "yesterday": must be a time of RFC 3339, (e.g. 2026-01-31T12:00:00Z)',
    ]);
  });

  it("with an address of an old form keep it, with a warning", () => {
    expect(issuesOf(documents(NAMESPACE, podText("spec: {nodeName: n}\nstatus: {podIP: 010.0.0.1}\n")))).toContain(
      '11:17 warning status.podIP: non-standard IP address "010.0.0.1" will be considered invalid in a future Kubernetes release: use "10.0.0.1"',
    );
  });
});

describe("objects together", () => {
  const running = (name: string, rest = "", phase = "Running") =>
    podText(`spec: {nodeName: n}\nstatus: {phase: ${phase}, podIP: 10.0.0.1}\n`, `{name: ${name}${rest}}`);
  const ownerOf = (...pods: readonly string[]) =>
    modelOf(documents(...pods))
      .endpoints.filter(({ addresses }) => addresses.length > 0)
      .map(({ name }) => name);

  it("a namespace that only pods name exists, with its name's label and one warning", () => {
    const text = documents(
      podText("", "{name: a, namespace: shop}"),
      podText("", "{name: b, namespace: shop}"),
      policyText("", "{name: p, namespace: shop}"),
    );
    expect(issuesOf(text)).toEqual([
      '4:24 warning metadata.namespace: there is no Namespace "shop"; it is taken to exist, with the label kubernetes.io/metadata.name alone',
    ]);
    expect(modelOf(text).namespaces).toMatchObject([
      { name: "shop", labels: new Map([["kubernetes.io/metadata.name", "shop"]]), source: undefined },
    ]);
  });

  it("a policy in a namespace that does not exist is refused; every cluster has default and kube-system", () => {
    expect(issuesOf(policyText("", "name: p\n  namespace: nowhere"))).toEqual([
      '5:14 error metadata.namespace: namespaces "nowhere" not found: no Namespace has this name, and no pod is in it',
    ]);
    const text = documents(policyText(), policyText("", "{name: p, namespace: kube-system}"));
    expect(issuesOf(text)).toEqual([]);
    expect(modelOf(text).namespaces.map(({ name }) => name)).toEqual(["default", "kube-system"]);
  });

  it("a node that only pods name exists, with one warning", () => {
    const text = documents(NAMESPACE, podText("spec: {nodeName: n}\n"), podText("spec: {nodeName: n}\n", "name: b"));
    expect(issuesOf(text)).toEqual([
      '10:18 warning spec.nodeName: there is no Node "n"; it is taken to exist, without an address',
    ]);
    expect(modelOf(text).nodes).toMatchObject([{ name: "n", addresses: [], source: undefined }]);
  });

  it("a pod with an address and no node runs on the only node there is", () => {
    const node = "apiVersion: v1\nkind: Node\nmetadata: {name: n}\n";
    const lost = podText("status: {podIP: 10.0.0.1}\n");
    expect(modelOf(documents(node, lost)).endpoints[0]?.node).toBe("n");
    expect(modelOf(lost).nodes.map(({ name }) => name)).toEqual(["node"]);
    expect(modelOf(documents(node, podText())).endpoints[0]?.node).toBe("");
  });

  it("an address that two pods claim belongs to the running, newest one, then to the last by name (row 35)", () => {
    const created = (year: number) => `, creationTimestamp: "${year}-01-01T00:00:00Z"`;
    expect(ownerOf(running("a"), running("b", "", "Pending"))).toEqual(["a"]);
    expect(ownerOf(running("a", created(2026)), running("b", created(2025)))).toEqual(["a"]);
    expect(ownerOf(running("a", created(2024)), running("b", created(2025)))).toEqual(["b"]);
    expect(ownerOf(running("b"), running("a"))).toEqual(["b"]);
    expect(
      ownerOf(running("a", created(2025)), running("b", ', creationTimestamp: "2025-01-01T01:00:00+02:00"')),
    ).toEqual(["a"]);
    const warning =
      "warning status.podIP: pod default/a claims 10.0.0.1, which pod default/b has: of pods with one address the running, newest one has it";
    expect(
      issuesOf(documents(NAMESPACE, running("b"), running("a"))).filter((issue) => issue.endsWith("has it")),
    ).toEqual([`18:33 ${warning}`]);
  });

  it("pods that are finished or on the host network claim no address", () => {
    const host = podText(
      "spec: {nodeName: n, hostNetwork: true}\nstatus: {phase: Running, podIP: 10.0.0.1}\n",
      "name: z",
    );
    const text = documents(running("a"), running("done", "", "Succeeded"), host);
    expect(issuesOf(text).filter((issue) => issue.includes("claims"))).toEqual([]);
    expect(modelOf(text).endpoints.map(({ addresses }) => addresses.length)).toEqual([1, 1, 1]);
  });
});

describe("issues", () => {
  it("are all there at once, in order of file and place", () => {
    const text = documents(
      policyText("  ingress: [{ports: [{port: 0}, {port: 70000}]}]\n  x: 1\n"),
      podText("status: {podIP: x}\n", "name: A"),
    );
    expect(issuesOf(text).map((issue) => issue.split(" ")[0])).toEqual([
      "7:29",
      "7:40",
      "8:3",
      "13:3",
      "13:9",
      "14:17",
    ]);
  });

  it("stay short, whatever the input", () => {
    const long = "x".repeat(100_000);
    const text = documents(
      policyText(`  ${long}: 1\n`, `name: ${long}`),
      podText("", `{name: a, labels: {${long}: ${long}}}`),
      block(`        cidr: ${long}\n`),
    );
    for (const { message, path } of load(text).issues) expect(message.length + path.length).toBeLessThan(1_000);
  });
});
