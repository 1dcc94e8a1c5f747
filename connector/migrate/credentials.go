package migrate

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/scrypt"

	"adconnector/ldapauth/secret"
)

// Both forms in which the old connector keeps the password of its service
// account are AES-256-CBC with a key made from the file with its private key.
const (
	newForm   = "$2$."
	keyLength = 32
	// maxCredentials is far more than any password needs.
	maxCredentials = 64 << 10
)

var errCredentials = errors.New("it cannot be decrypted with the private key that is there: the key is another one, or a part is missing")

// decryptCredentials returns the password in LDAP_BIND_CREDENTIALS; keyFile is
// what the file with the private key holds, byte by byte. CBC does not prove
// that the key was the right one: what is no padding or no text is refused, and
// the directory has the last word.
func decryptCredentials(credentials secret.String, keyFile []byte) (secret.String, error) {
	none := secret.String{}
	text := strings.TrimSpace(credentials.Reveal())
	if len(text) > maxCredentials || len(keyFile) == 0 {
		return none, errCredentials
	}
	key, iv, cipherText, err := takeApart(text, keyFile)
	if err != nil {
		return none, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return none, err
	}
	if len(cipherText) == 0 || len(cipherText)%aes.BlockSize != 0 {
		return none, errCredentials
	}
	plain := make([]byte, len(cipherText))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, cipherText)
	plain, ok := unpad(plain)
	if !ok || len(plain) == 0 || !utf8.Valid(plain) || strings.ContainsFunc(string(plain), unicode.IsControl) {
		return none, errCredentials
	}
	return secret.New(string(plain)), nil
}

// takeApart returns what the credentials were encrypted with, and the rest.
func takeApart(text string, keyFile []byte) (key, iv, cipherText []byte, err error) {
	rest, isNew := strings.CutPrefix(text, newForm)
	if !isNew {
		if cipherText, err = hex.DecodeString(text); err != nil {
			return nil, nil, nil, errCredentials
		}
		key, iv = bytesToKey(keyFile)
		return key, iv, cipherText, nil
	}
	parts := strings.Split(rest, ".")
	if len(parts) != 3 {
		return nil, nil, nil, errCredentials
	}
	var raw [3][]byte
	for i, part := range parts {
		if raw[i], err = hex.DecodeString(part); err != nil {
			return nil, nil, nil, errCredentials
		}
	}
	if len(raw[1]) != aes.BlockSize {
		return nil, nil, nil, errCredentials
	}
	key, err = scrypt.Key(keyFile, raw[0], 16384, 8, 1, keyLength)
	return key, raw[1], raw[2], err
}

// bytesToKey makes key and initial vector as OpenSSL's EVP_BytesToKey does it
// with MD5, one round and no salt: what the old form was made with.
func bytesToKey(password []byte) (key, iv []byte) {
	var all, last []byte
	for len(all) < keyLength+aes.BlockSize {
		sum := md5.Sum(append(bytes.Clone(last), password...))
		last = sum[:]
		all = append(all, last...)
	}
	return all[:keyLength], all[keyLength : keyLength+aes.BlockSize]
}

// unpad removes the padding of PKCS #7.
func unpad(data []byte) ([]byte, bool) {
	n := int(data[len(data)-1])
	if n == 0 || n > aes.BlockSize {
		return nil, false
	}
	text, padding := data[:len(data)-n], data[len(data)-n:]
	return text, bytes.Count(padding, []byte{byte(n)}) == n
}
