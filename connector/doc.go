// Package connector assembles the program: it reads the configuration, makes
// the parts and runs them. It is the only place where they meet.
//
// # Floors
//
// Imports point down only; deps_test.go in this folder is the rule and fails
// the build otherwise.
//
//	6  demo   bench   migrate   cmd/adconnector          the program
//	5  connector                                         assembly
//	4  wsfed   hub                                       upstream protocols; none knows another
//	3  web   token   front   fetch                       what upstreams share; the TLS side
//	2  signin                                            the one door; no HTTP, no LDAP of its own
//	1  profile                                           what is told of an account; no HTTP, no LDAP
//	1  ldapauth   certauth   revocation   memdir   testca   proof; no HTTP
//	0  denial   secret   setting   iprange   private   watch   templates   static
//
// # A sign-in by certificate
//
//  1. front: the connection comes from a configured range, so the handshake
//     asks for a certificate. TLS does not judge it: a refusal shall be a page,
//     and a connection that lives long shall be judged again at each sign-in.
//  2. web: GET /wsfed. wsfed.Receive checks realm and reply address and returns
//     what is pending. Nothing later can change where the answer goes.
//  3. web: a session that is fresh enough is a credential; otherwise the
//     certificate of the connection is. No certificate: the password form.
//  4. signin.SignIn: is the method offered to this address, then the proof.
//  5. certauth.Verify: chain, time, usage, strength, policies, whom it names by
//     the rules of its authority, and whether anything of it has been revoked.
//     What that takes is fetched ahead, by functions that fetch and ldapauth
//     lend: certauth goes nowhere itself.
//  6. ldapauth.FindHolder: exactly one person, who really has what was looked
//     for, and whose security identifier the certificate does not deny; the
//     state of the account, which no bind checks for us here; groups.
//  7. signin: the profile, one audit line.
//  8. web: a session with a new id, then wsfed.Reply: the token is signed and
//     posted to the relying party by a page.
//
// A refused certificate ends in a page that says which certificate was seen and
// why it was refused, with the password form below it; nothing is tried in
// silence. A fault, such as a directory that does not answer, ends in an error
// page without a form.
//
// # A sign-in by password
//
// As above, but 3 is the form coming back, and between 4 and 6 stand the
// throttle, asked before the directory, and one bind as the account on a
// connection that is used for nothing else.
//
// # A sign-in by the hub
//
//  1. hub: the agent keeps a socket to the tenant's hub and reads a frame.
//  2. hub: its JWT is verified: the tenant's key, the one algorithm, its age, not
//     seen before. What is not in order is ignored.
//  3. signin.SignIn, as above; the attempt is relayed, so no address counts.
//  4. hub: the profile, or why not, in the words of Auth0's connector.
package connector
