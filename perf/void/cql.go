package main

import (
	"regexp"
	"strings"
)

// As much CQL as the scripts and the drivers say to this server. Names are unquoted, or quoted and
// in lower case.

var (
	blanks        = regexp.MustCompile(`\s+`)
	createSpace   = regexp.MustCompile(`(?i)^create keyspace (?:if not exists )?(\w+) with replication ?= ?(\{.*?\})`)
	createTable   = regexp.MustCompile(`(?i)^create table (?:if not exists )?([\w.]+) ?\((.*)\)(?: with .*)?$`)
	dropSpace     = regexp.MustCompile(`(?i)^drop keyspace (?:if exists )?(\w+)$`)
	dropTable     = regexp.MustCompile(`(?i)^drop table (?:if exists )?([\w.]+)$`)
	truncate      = regexp.MustCompile(`(?i)^truncate (?:table )?([\w.]+)$`)
	use           = regexp.MustCompile(`(?i)^use "?(\w+)"?$`)
	selection     = regexp.MustCompile(`(?i)^select (.*?) from ([\w.]+)(.*)$`)
	insertion     = regexp.MustCompile(`(?i)^insert into ([\w.]+) ?\(([^)]*)\) ?values ?\((.*?)\)(.*)$`)
	change        = regexp.MustCompile(`(?i)^(?:update|delete(?: .*?)? from) ([\w.]+)(.*)$`)
	condition     = regexp.MustCompile(`(?i) if (?:not )?\w`)
	limit         = regexp.MustCompile(`(?i) limit (\d+)`)
	equalText     = regexp.MustCompile(`(\w+) ?= ?'([^']*)'`)
	namedMark     = regexp.MustCompile(`(?i)"?(\w+)"? ?(?:=|<=|>=|<|>|)\s?\?`)
	primaryKey    = regexp.MustCompile(`(?i)^primary key ?\((.*)\)$`)
	ownPrimaryKey = regexp.MustCompile(`(?i) primary key$`)
	static        = regexp.MustCompile(`(?i) static$`)
	pair          = regexp.MustCompile(`'(\w+)' ?: ?'?(\w+)'?`)
)

func tidy(statement string) string {
	return strings.TrimSpace(strings.TrimRight(blanks.ReplaceAllString(statement, " "), "; "))
}

func unquote(name string) string {
	return strings.Trim(strings.TrimSpace(name), `"`)
}

// splitOutside splits at the commas that stand in no brackets.
func splitOutside(text string) []string {
	var parts []string
	depth, start := 0, 0
	for at, letter := range text {
		switch letter {
		case '(', '<', '{':
			depth++
		case ')', '>', '}':
			depth--
		case ',':
			if depth == 0 {
				parts = append(parts, strings.TrimSpace(text[start:at]))
				start = at + 1
			}
		}
	}
	return append(parts, strings.TrimSpace(text[start:]))
}

// parseTable takes apart what stands in the brackets of CREATE TABLE.
func parseTable(keyspace, name, inside string) (*table, error) {
	t := &table{keyspace: keyspace, name: name}
	for _, part := range splitOutside(inside) {
		if key := primaryKey.FindStringSubmatch(part); key != nil {
			keys := splitOutside(key[1])
			for _, column := range strings.Split(strings.Trim(keys[0], "()"), ",") {
				t.partition = append(t.partition, unquote(column))
			}
			for _, column := range keys[1:] {
				t.clustering = append(t.clustering, unquote(column))
			}
			continue
		}
		own := ownPrimaryKey.MatchString(part)
		part = static.ReplaceAllString(ownPrimaryKey.ReplaceAllString(part, ""), "")
		column, kind, _ := strings.Cut(part, " ")
		parsed, err := parseType(kind)
		if err != nil {
			return nil, err
		}
		column = unquote(column)
		t.columns = append(t.columns, spec{column, parsed})
		if own {
			t.partition = []string{column}
		}
	}
	if len(t.partition) == 0 {
		return nil, invalid("No PRIMARY KEY specified for table '%s.%s'", keyspace, name)
	}
	return t, nil
}

// boundNames returns what stands before each question mark, in their order.
func boundNames(statement string) []string {
	var names []string
	if parts := insertion.FindStringSubmatch(statement); parts != nil {
		columns := strings.Split(parts[2], ",")
		for at, value := range splitOutside(parts[3]) {
			if value == "?" && at < len(columns) {
				names = append(names, unquote(columns[at]))
			}
		}
		statement = parts[4]
	}
	for _, mark := range namedMark.FindAllStringSubmatch(statement, -1) {
		names = append(names, mark[1])
	}
	return names
}
