// Renders a chart's templates with Go's own engine, where there is no Helm: of Helm's functions it has those that our chart uses.
//
//	go run scripts/helm.go TEMPLATE... <values.json
//
// A value that is missing is an error, as with `helm lint --strict`.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

func main() {
	if err := render(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func render(files []string) error {
	var values any
	if err := json.NewDecoder(os.Stdin).Decode(&values); err != nil {
		return err
	}
	chart := template.New("chart").Option("missingkey=error")
	chart.Funcs(template.FuncMap{
		"default": func(otherwise, value any) any {
			if value == nil || value == "" {
				return otherwise
			}
			return value
		},
		"fail": func(message string) (string, error) { return "", errors.New(message) },
		"has": func(value any, list []any) bool {
			for _, each := range list {
				if each == value {
					return true
				}
			}
			return false
		},
		"include": func(name string, data any) (string, error) {
			var text strings.Builder
			err := chart.ExecuteTemplate(&text, name, data)
			return text.String(), err
		},
		"list":  func(values ...any) []any { return values },
		"quote": func(value any) string { return fmt.Sprintf("%q", fmt.Sprint(value)) },
		"toJson": func(value any) (string, error) {
			text, err := json.Marshal(value)
			return string(text), err
		},
	})
	if _, err := chart.ParseFiles(files...); err != nil {
		return err
	}
	for _, file := range files {
		if filepath.Ext(file) != ".yaml" {
			continue
		}
		fmt.Println("---")
		if err := chart.ExecuteTemplate(os.Stdout, filepath.Base(file), values); err != nil {
			return err
		}
	}
	return nil
}
