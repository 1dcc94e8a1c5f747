package token

import (
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// JWT returns claims as a JSON Web Token in compact form (RFC 7519), signed by
// RS256. Its header names the algorithm and the type and nothing else.
func (k *SigningKey) JWT(claims any) (string, error) {
	options := (&jose.SignerOptions{}).WithType("JWT")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: k.key}, options)
	if err != nil {
		return "", fmt.Errorf("signing a JWT: %w", err)
	}
	return jwt.Signed(signer).Claims(claims).Serialize()
}
