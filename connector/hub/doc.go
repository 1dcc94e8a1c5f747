// Package hub makes this service a connection of an Auth0 tenant, as the
// tenant's own connector would be one.
//
// A provisioning ticket makes both known to each other: [Provisioner] asks what
// the connection is and tells the certificate that signs. What the tenant says
// is kept, so that nothing but that step needs the tenant to answer. Then an
// [Agent] holds a WebSocket to the tenant's hub and answers its commands, each a
// JWT that the tenant has signed.
package hub
