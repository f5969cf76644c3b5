package main

import (
	"reflect"
	"strings"
)

// grammarOf returns the part of [commands] that args need: the command that they begin with, or
// all commands. kong prepares the flags of every command in its grammar, which takes half of the
// processor time of a short command such as relay healthcheck.
func grammarOf(args []string) any {
	if len(args) == 0 {
		return &commands{}
	}
	all := reflect.TypeFor[commands]()
	var fields []reflect.StructField
	found := false
	for i := range all.NumField() {
		field := all.Field(i)
		_, isCommand := field.Tag.Lookup("cmd")
		if !isCommand || commandName(field) == args[0] {
			fields, found = append(fields, field), found || isCommand
		}
	}
	if !found {
		return &commands{}
	}
	return reflect.New(reflect.StructOf(fields)).Interface()
}

// commandName returns the name of a command on the command line. The tag has it if it is not a
// single word.
func commandName(field reflect.StructField) string {
	if name := field.Tag.Get("name"); name != "" {
		return name
	}
	return strings.ToLower(field.Name)
}
