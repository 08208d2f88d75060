/** The Service of scenarios/db-policy's database: 10.96.0.10:33, which is port 3306 of these addresses. */
export function dbService(...addresses: readonly string[]): string {
  return `apiVersion: v1
kind: Service
metadata: { name: db, namespace: default }
spec: { clusterIP: 10.96.0.10, ports: [{ port: 33, targetPort: 3306 }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: db-x, namespace: default, labels: { kubernetes.io/service-name: db } }
addressType: IPv4
ports: [{ name: "", port: 3306, protocol: TCP }]
endpoints: [${addresses.map((address) => `{ addresses: [${address}], conditions: { ready: true } }`).join(", ")}]
`;
}
