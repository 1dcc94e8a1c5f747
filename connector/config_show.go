package connector

import (
	"encoding"
	"fmt"
	"io"
	"reflect"
	"strconv"

	"adconnector/connector/profile"

	"gopkg.in/yaml.v3"
)

// show writes a section and all that is in it. Settings that are not set have no
// line.
func show(w io.Writer, section reflect.Value) error {
	n, err := nodeOf(section)
	if err != nil {
		return err
	}
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	return e.Close()
}

// nodeOf returns v as YAML, nil if it is not set.
func nodeOf(v reflect.Value) (*yaml.Node, error) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil, nil
		}
		v = v.Elem()
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err != nil {
			return nil, err
		}
		return textNode(string(text)), nil
	}
	if c, ok := v.Interface().(profile.Config); ok {
		return profileNode(c), nil
	}
	switch v.Kind() {
	case reflect.Struct:
		return sectionNode(v)
	case reflect.Slice:
		return listNode(v)
	case reflect.Bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v.Bool())}, nil
	case reflect.Int:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatInt(v.Int(), 10)}, nil
	case reflect.String:
		return textNode(v.String()), nil
	}
	panic(fmt.Sprintf("connector: no way to write %s into a configuration file", v.Type()))
}

func textNode(s string) *yaml.Node {
	if s == "" {
		return nil
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}

func sectionNode(v reflect.Value) (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.MappingNode}
	known := fields(v.Type())
	if f := aloneField(v.Type()); f != nil {
		rest := reflect.New(v.Type()).Elem()
		rest.Set(v)
		if rest.FieldByIndex(f.index).SetZero(); rest.IsZero() {
			return nodeOf(v.FieldByIndex(f.index))
		}
	}
	for _, f := range known {
		if v.FieldByIndex(f.index).Type() == secretType && isSet(v, known, f.key+"_file") {
			continue // the file that it was read from says more than a mask
		}
		value, err := nodeOf(v.FieldByIndex(f.index))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.key, err)
		}
		if value != nil {
			n.Content = append(n.Content, textNode(f.key), value)
		}
	}
	return n, nil
}

func profileNode(c profile.Config) *yaml.Node {
	if len(c) == 0 {
		return nil
	}
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, d := range c {
		n.Content = append(n.Content, textNode(d.Claim), textNode(d.Source))
	}
	return n
}

func isSet(v reflect.Value, known []field, key string) bool {
	for _, f := range known {
		if f.key == key {
			return !v.FieldByIndex(f.index).IsZero()
		}
	}
	return false
}

func listNode(v reflect.Value) (*yaml.Node, error) {
	if v.Type() == oneOrMoreType && v.Len() < 2 {
		if v.Len() == 0 {
			return nil, nil
		}
		return textNode(v.Index(0).String()), nil
	}
	n := &yaml.Node{Kind: yaml.SequenceNode}
	if t := v.Type().Elem(); isLeaf(t) || t.Kind() != reflect.Struct {
		n.Style = yaml.FlowStyle
	}
	for i := range v.Len() {
		item, err := nodeOf(v.Index(i))
		if err != nil {
			return nil, fmt.Errorf("[%d]: %w", i, err)
		}
		if item != nil {
			n.Content = append(n.Content, item)
		}
	}
	return n, nil
}
