/** A pod whose policy allows so many blocks on a wide range of ports: 30 entries of a policy map each, and two more. */
export function manyBlocks(count: number): string {
  const blocks = Array.from(
    { length: count },
    (_, index) => `        - ipBlock: { cidr: 172.16.${index >> 8}.${index & 255}/32 }`,
  );
  return `
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop }
spec: { nodeName: node-a }
status: { phase: Running, podIP: 10.10.1.10 }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web, namespace: shop }
spec:
  podSelector: {}
  policyTypes: [Ingress]
  ingress:
    - ports: [{ port: 1, endPort: 65534 }]
      from:
${blocks.join("\n")}
`;
}
