// Starts GraphiQL on this server's schema, with the saved operations as tabs. A query in the
// address (?query=…&variables=…), as the dashboard links to, opens first.
const given = new URLSearchParams(location.search);
const query = given.get("query");
const variables = given.get("variables");
const saved = JSON.parse(document.getElementById("tabs").textContent);
const pretty = variables && variables !== "{}" ? JSON.stringify(JSON.parse(variables), null, 2) : undefined;
const defaultTabs = query ? [{ query, variables: pretty }, ...saved] : saved;
// What was typed the last time must not hide what was asked for now.
const storage = query ? { getItem: () => null, setItem() {}, removeItem() {}, clear() {}, length: 0 } : undefined;
const fetcher = GraphiQL.createFetcher({ url: "/graphql" });
ReactDOM.createRoot(document.getElementById("graphiql")).render(
  React.createElement(GraphiQL, { fetcher, defaultTabs, storage, shouldPersistHeaders: false }),
);
